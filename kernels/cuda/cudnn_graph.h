// One operation as a cuDNN graph: described, given to the heuristics, made a plan, run.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "engine/type.h"
#include "kernels/common/plan.h"

namespace tapescope::cuda {

// A backend descriptor that destroys itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor();

  cudnnBackendDescriptor_t raw() const { return raw_; }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::span<const T> values) {
    return set(name, type, static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  const T& value) {
    return set(name, type, 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other.raw_);
  }
  Descriptor& finalize(const char* what);
  bool try_finalize();

 private:
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::int64_t count, const void* values);
  cudnnBackendDescriptor_t raw_ = nullptr;
};

// Descriptors of one graph: those that others refer to live as long as these.
using Descriptors = std::deque<Descriptor>;
Descriptor& make(Descriptors& all, cudnnBackendDescriptorType_t type);

// An image tensor {N, H, W, C} in memory, described as cuDNN wants it: extents N, C, H, W, and the
// strides that say where they lie. `id` names it in the graph; a virtual one is never in memory.
Descriptor& image_tensor(Descriptors& all, std::int64_t id, DType dtype, std::int64_t N,
                         std::int64_t H, std::int64_t W, std::int64_t C, bool is_virtual = false);

// A finished graph with the engine that runs it.
class GraphPlan {
 public:
  // Takes the heuristics' first engine that is deterministic and, for f32, computes in f32 (no
  // tf32, no Winograd). Empty where there is none.
  // `operations` are among `all`.
  static std::unique_ptr<GraphPlan> choose(Descriptors all,
                                           std::span<const cudnnBackendDescriptor_t> operations,
                                           DType dtype);

  std::size_t workspace_bytes() const { return workspace_; }
  // Memory of the tensors `ids`, in their order.
  void run(const Queue& queue, std::span<const std::int64_t> ids, std::span<void* const> memory,
           void* workspace) const;

 private:
  Descriptors all_;
  Descriptor plan_;
  std::size_t workspace_ = 0;
};

}  // namespace tapescope::cuda
