#include "tests/autograd/harness_run.h"

#include <cstring>

#include "engine/runtime.h"

namespace tapescope {
namespace {

constexpr std::size_t kAlignment = 256;  // what plans place workspaces by, on GPUs
constexpr std::size_t kGuard = 256;      // bytes on each side
constexpr unsigned char kMark = 0xA5;

// A buffer with guard bands, `shift` bytes off alignment, filled with NaN or with given bytes.
class Guarded {
 public:
  Guarded(const Type& type, std::size_t shift, const Tensor* content = nullptr)
      : type_(type), memory_(type.bytes() + 2 * kGuard + shift + kAlignment, kMark) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    start_ = (kAlignment - address % kAlignment) % kAlignment + kGuard + shift;
    if (content != nullptr) {
      std::memcpy(data(), content->data(), type.bytes());
    } else {
      std::memset(data(), 0xFF, type.bytes());  // NaN in every floating dtype
    }
  }
  void* data() { return memory_.data() + start_; }
  // Where kernels of a device find it: a copy in the device's memory, guards and all.
  void* on(Device device, const Queue& queue) {
    if (device.kind == DeviceKind::cpu) return data();
    copy_ =
        Tensor(Type{DType::u8, {static_cast<std::int64_t>(memory_.size() + kAlignment)}}, device);
    // The same place within the alignment, for alignment to be what was asked for.
    offset_ = reinterpret_cast<std::uintptr_t>(memory_.data()) % kAlignment;
    DeviceRuntime::of(device).copy(copied(), memory_.data(), memory_.size(), queue);
    return copied() + start_;
  }
  // Brings back what the kernel left.
  void fetch(const Queue& queue) {
    if (copy_.defined()) {
      DeviceRuntime::of(copy_.device()).copy(memory_.data(), copied(), memory_.size(), queue);
    }
  }
  bool intact() const {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      const bool inside = i >= start_ && i < start_ + type_.bytes();
      if (!inside && memory_[i] != kMark) return false;
    }
    return true;
  }
  Tensor tensor() {
    Tensor copy(type_);
    std::memcpy(copy.data(), data(), type_.bytes());
    return copy;
  }

 private:
  unsigned char* copied() { return static_cast<unsigned char*>(copy_.data()) + offset_; }
  Type type_;
  std::vector<unsigned char> memory_;
  std::size_t start_ = 0, offset_ = 0;
  Tensor copy_;
};

}  // namespace

std::vector<Tensor> in_dtype(const std::vector<Tensor>& operands, DType dtype) {
  std::vector<Tensor> result;
  for (const Tensor& t : operands)
    result.push_back(is_floating(t.dtype()) ? t.to(dtype) : t.clone());
  return result;
}

std::vector<Tensor> in_dtype(const Case& c, DType dtype) {
  std::vector<Tensor> result = in_dtype(c.operands, dtype);
  for (std::size_t k = 0; k < result.size(); ++k) {
    if (c.sample.operands[k].wide) result[k] = c.operands[k].to(wide(dtype));
  }
  return result;
}

std::vector<Type> types_of(const std::vector<Tensor>& tensors) {
  std::vector<Type> types;
  for (const Tensor& t : tensors) types.push_back(t.type());
  return types;
}

std::vector<Tensor> run(const Op& op, const std::vector<Tensor>& operands, const Backend& backend,
                        std::size_t shift, Problems* problems) {
  const std::vector<Type> types = types_of(operands);
  const Types out = op.infer(types);
  const Plan plan = op.prepare(types, out, backend);
  std::vector<Guarded> in, to;
  std::vector<const void*> in_pointers;
  std::vector<void*> out_pointers;
  for (const Tensor& t : operands) in.emplace_back(t.type(), shift * size_of(t.dtype()), &t);
  for (int o = 0; o < out.size(); ++o) to.emplace_back(out[o], shift * size_of(out[o].dtype));
  Guarded workspace({DType::u8, {static_cast<std::int64_t>(plan.workspace_bytes())}}, 0);
  const Queue queue = DeviceRuntime::of(backend.device).compute_queue();
  for (Guarded& g : in) in_pointers.push_back(g.on(backend.device, queue));
  for (Guarded& g : to) out_pointers.push_back(g.on(backend.device, queue));
  in_pointers.push_back(nullptr);
  out_pointers.push_back(nullptr);
  plan.run(queue, {in_pointers.data(), out_pointers.data(), workspace.on(backend.device, queue)});
  for (auto* buffers : {&in, &to}) {
    for (Guarded& g : *buffers) g.fetch(queue);
  }
  workspace.fetch(queue);
  std::vector<Tensor> results;
  for (Guarded& g : to) results.push_back(g.tensor());
  if (problems != nullptr) {
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (!in[i].intact()) problems->push_back(fmt::format("writes around operand {}", i));
      if (std::memcmp(in[i].data(), operands[i].data(), operands[i].bytes()) != 0) {
        problems->push_back(fmt::format("changes operand {}", i));
      }
    }
    for (std::size_t o = 0; o < to.size(); ++o) {
      if (!to[o].intact()) problems->push_back(fmt::format("writes past output {}", o));
    }
    if (!workspace.intact()) problems->push_back("writes past the workspace");
  }
  return results;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (std::size_t o = 0; o < a.size(); ++o) {
    if (a[o].type() != b[o].type() || std::memcmp(a[o].data(), b[o].data(), a[o].bytes()) != 0) {
      return false;
    }
  }
  return a.size() == b.size();
}

}  // namespace tapescope
