#include "engine/tensor.h"

#include "engine/runtime.h"

namespace tapescope {
namespace {

double read(DType dtype, const void* data, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(data)[i];
    case DType::bf16:
      return static_cast<float>(static_cast<const bf16*>(data)[i]);
    case DType::f64:
      return static_cast<const double*>(data)[i];
    case DType::i64:
      return static_cast<double>(static_cast<const std::int64_t*>(data)[i]);
    case DType::u8:
      return static_cast<const std::uint8_t*>(data)[i];
  }
  return 0;
}

void write(DType dtype, void* data, std::int64_t i, double value) {
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
    case DType::bf16:
      static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
      break;
    case DType::f64:
      static_cast<double*>(data)[i] = value;
      break;
    case DType::i64:
      static_cast<std::int64_t*>(data)[i] = static_cast<std::int64_t>(value);
      break;
    case DType::u8:
      static_cast<std::uint8_t*>(data)[i] = static_cast<std::uint8_t>(value);
      break;
  }
}

}  // namespace

Tensor Tensor::zeros(Type type, Device device, Purpose purpose) {
  Tensor tensor(type, device, purpose);
  DeviceRuntime& runtime = DeviceRuntime::of(device);
  runtime.fill_zero(tensor.data(), tensor.bytes(), runtime.compute_queue());
  return tensor;
}

Tensor Tensor::full(Type type, double value, Device device) {
  Tensor tensor(type);
  for (std::int64_t i = 0; i < tensor.elements(); ++i) write(type.dtype, tensor.data(), i, value);
  return tensor.to(device);
}

Tensor Tensor::scalar_i64(std::int64_t value) { return from<std::int64_t>({}, {value}); }

double Tensor::item(std::int64_t index) const {
  if (device().kind == DeviceKind::cpu) return read(dtype(), data(), index);
  const std::size_t size = size_of(dtype());
  alignas(8) char element[8];
  DeviceRuntime& runtime = DeviceRuntime::of(device());
  runtime.copy(element, static_cast<const char*>(data()) + static_cast<std::size_t>(index) * size,
               size, runtime.compute_queue());
  return read(dtype(), element, 0);
}

Tensor Tensor::reshape(Shape shape) const {
  if (shape.elements() != elements()) {
    throw usage_error("[reshape] {} has {} elements and cannot become {} with {}",
                      to_string(type_.shape), elements(), to_string(shape), shape.elements());
  }
  Tensor result = *this;
  result.type_.shape = shape;
  return result;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  if (shape().rank() == 0 || begin < 0 || end < begin || end > shape()[0]) {
    throw usage_error("[rows] rows {} to {} of a tensor of shape {} do not exist", begin, end,
                      to_string(shape()));
  }
  Tensor result = *this;
  result.type_.shape[0] = end - begin;
  result.offset_ +=
      static_cast<std::size_t>(begin * shape().elements(1, shape().rank())) * size_of(dtype());
  return result;
}

Tensor Tensor::clone() const {
  Tensor copy(type_, device(), storage_->purpose, storage_->label);
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return clone();
  check_host(this->dtype());
  Tensor result(Type{dtype, shape()}, device(), storage_->purpose, storage_->label);
  for (std::int64_t i = 0; i < elements(); ++i) {
    write(dtype, result.data(), i, read(this->dtype(), data(), i));
  }
  return result;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor copy(type_, device, storage_->purpose, storage_->label);
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  if (source.type() != type_) {
    throw usage_error("[copy_from] a tensor of type {} cannot take the values of one of type {}",
                      to_string(type_), to_string(source.type()));
  }
  // A copy between host and device is the device's work.
  DeviceRuntime& runtime =
      DeviceRuntime::of(device().kind == DeviceKind::cpu ? source.device() : device());
  runtime.copy(data(), source.data(), bytes(), runtime.compute_queue());
}

Tensor Tensor::view(StorageRef storage, std::size_t byte_offset, Type type) {
  const std::size_t bytes = storage ? storage->bytes : 0;
  if (byte_offset > bytes || type.bytes() > bytes - byte_offset ||
      byte_offset % size_of(type.dtype) != 0) {
    throw failure("[view] a tensor of type {} does not lie at byte {} of a block of {} bytes",
                  to_string(type), byte_offset, bytes);
  }
  Tensor tensor;
  tensor.type_ = type;
  tensor.storage_ = std::move(storage);
  tensor.offset_ = byte_offset;
  return tensor;
}

void Tensor::check_host(DType wanted) const {
  if (!defined()) throw usage_error("[values] the tensor is empty: nothing was assigned to it");
  if (device().kind != DeviceKind::cpu) {
    throw usage_error("[values] a tensor on device '{}' cannot be read in place; copy it: host()",
                      name_of(device().kind));
  }
  if (dtype() != wanted) {
    throw usage_error("[values] a tensor of type {} cannot be read as {}", to_string(type_),
                      name_of(wanted));
  }
}

}  // namespace tapescope
