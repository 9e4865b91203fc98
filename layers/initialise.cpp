#include "layers/initialise.h"

#include <cmath>

#include "engine/philox.h"

namespace tapescope::initialise {
thread_local std::int64_t* room = nullptr;
namespace {

PhiloxStream stream_of(const Build& build, std::string_view name) {
  return PhiloxStream(mix(build.seed, stable_hash(build.child(name).path)));
}

// Of f32; draw() gives one value after the other.
template <class Draw>
Tensor parameter(Shape shape, Draw&& draw) {
  const Type type{DType::f32, shape};
  if (room != nullptr) {
    if ((*room -= type.elements()) < 0) throw usage_error("no room for {}", to_string(type));
    return Tensor::zeros(type, Device::cpu(), Purpose::parameter);
  }
  Tensor tensor(type, Device::cpu(), Purpose::parameter);
  for (float& value : tensor.values<float>()) value = static_cast<float>(draw());
  return tensor;
}

}  // namespace

Tensor he_normal(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in) {
  PhiloxStream random = stream_of(build, name);
  const double deviation = std::sqrt(2.0 / static_cast<double>(fan_in));
  return parameter(shape, [&] { return random.normal() * deviation; });
}

Tensor uniform_fan_in(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in) {
  PhiloxStream random = stream_of(build, name);
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return parameter(shape, [&] { return (2 * random.uniform_f64() - 1) * bound; });
}

Tensor constant(Shape shape, double value) {
  return parameter(shape, [&] { return value; });
}

}  // namespace tapescope::initialise
