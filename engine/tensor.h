// A handle to typed memory.
#pragma once

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "engine/allocator.h"
#include "engine/error.h"
#include "engine/type.h"

namespace tapescope {

// Row-major and contiguous, always: a shape is what memory is. Copying a Tensor shares its memory;
// clone() copies it. Images are {N, H, W, C}, convolution weights {O, KH, KW, I}.
class Tensor {
 public:
  Tensor() = default;
  // Uninitialised memory.
  explicit Tensor(Type type, Device device = Device::cpu(), Purpose purpose = Purpose::activation,
                  const char* label = "")
      : type_(type), storage_(Allocator::of(device).allocate(type.bytes(), purpose, label)) {}

  static Tensor zeros(Type type, Device device = Device::cpu(),
                      Purpose purpose = Purpose::activation);
  // All elements equal to `value`, converted to the dtype.
  static Tensor full(Type type, double value, Device device = Device::cpu());
  static Tensor scalar(float value) { return full({DType::f32, {}}, value); }
  static Tensor scalar_i64(std::int64_t value);
  template <class T>
  static Tensor from(Shape shape, std::span<const T> values) {
    Tensor tensor(Type{dtype_of<T>(), shape});
    if (tensor.elements() != static_cast<std::int64_t>(values.size())) {
      throw usage_error("a tensor of shape {} has {} elements, but {} values were given",
                        to_string(shape), tensor.elements(), values.size());
    }
    if (!values.empty()) std::memcpy(tensor.data(), values.data(), tensor.bytes());
    return tensor;
  }
  template <class T>
  static Tensor from(Shape shape, std::initializer_list<T> values) {
    return from(shape, std::span<const T>(values.begin(), values.size()));
  }

  bool defined() const { return static_cast<bool>(storage_); }
  const Type& type() const { return type_; }
  const Shape& shape() const { return type_.shape; }
  DType dtype() const { return type_.dtype; }
  std::int64_t elements() const { return type_.elements(); }
  std::size_t bytes() const { return type_.bytes(); }
  Device device() const { return storage_->device; }
  const StorageRef& storage() const { return storage_; }

  // An address on device(): host code may follow it on the CPU only.
  void* data() { return static_cast<char*>(storage_->data) + offset_; }
  const void* data() const { return static_cast<const char*>(storage_->data) + offset_; }
  // Host memory as numbers; throws if the dtype is another one or the device not the CPU.
  template <class T>
  std::span<T> values() {
    check_host(dtype_of<T>());
    return {static_cast<T*>(data()), static_cast<std::size_t>(elements())};
  }
  template <class T>
  std::span<const T> values() const {
    check_host(dtype_of<T>());
    return {static_cast<const T*>(data()), static_cast<std::size_t>(elements())};
  }
  // The one element of a scalar, or element `index`, as a double whatever the dtype. On another
  // device than the CPU it waits for the work before it.
  double item(std::int64_t index = 0) const;

  // The same memory under another shape of as many elements.
  Tensor reshape(Shape shape) const;
  // Rows [begin, end) of the leading axis: the same memory.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  Tensor clone() const;
  // A copy in another dtype; for tensors on the CPU.
  Tensor to(DType dtype) const;
  // This tensor where it is on that device already, otherwise a copy there.
  Tensor to(Device device) const;
  Tensor host() const { return to(Device::cpu()); }
  // Overwrites this tensor's elements. Types must be equal; devices may differ.
  void copy_from(const Tensor& source);
  // A view of `storage` as a tensor of this type, starting at a byte offset. Throws a failure where
  // it would reach beyond it, or starts where the dtype cannot.
  static Tensor view(StorageRef storage, std::size_t byte_offset, Type type);

 private:
  void check_host(DType wanted) const;
  Type type_;
  StorageRef storage_;
  std::size_t offset_ = 0;  // bytes
};

}  // namespace tapescope
