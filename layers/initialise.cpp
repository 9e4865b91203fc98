#include "layers/initialise.h"

#include <cmath>

#include "engine/philox.h"

namespace tapescope::initialise {
namespace {

PhiloxStream stream_of(const Build& build, std::string_view name) {
  return PhiloxStream(mix(build.seed, stable_hash(build.child(name).path)));
}

Tensor parameter_tensor(Shape shape) {
  return Tensor({DType::f32, shape}, Device::cpu(), Purpose::parameter);
}

Tensor uniform(const Build& build, std::string_view name, Shape shape, double bound) {
  PhiloxStream random = stream_of(build, name);
  Tensor tensor = parameter_tensor(shape);
  for (float& value : tensor.values<float>()) {
    value = static_cast<float>((2 * random.uniform_f64() - 1) * bound);
  }
  return tensor;
}

}  // namespace

Tensor he_normal(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in) {
  PhiloxStream random = stream_of(build, name);
  const double deviation = std::sqrt(2.0 / static_cast<double>(fan_in));
  Tensor tensor = parameter_tensor(shape);
  for (float& value : tensor.values<float>()) {
    value = static_cast<float>(random.normal() * deviation);
  }
  return tensor;
}

Tensor xavier_uniform(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in,
                      std::int64_t fan_out) {
  return uniform(build, name, shape, std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
}

Tensor uniform_fan_in(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in) {
  return uniform(build, name, shape, 1 / std::sqrt(static_cast<double>(fan_in)));
}

Tensor constant(Shape shape, double value) {
  Tensor tensor = parameter_tensor(shape);
  for (float& element : tensor.values<float>()) element = static_cast<float>(value);
  return tensor;
}

}  // namespace tapescope::initialise
