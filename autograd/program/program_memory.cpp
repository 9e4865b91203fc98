#include "autograd/program/program_memory.h"

#include "engine/allocator.h"

namespace tapescope {
namespace {

void grow(Tensor& memory, std::size_t bytes, Device device, Purpose purpose) {
  memory = {};  // given back first, to the system: the larger one may stand in its place
  Allocator::of(device).trim();
  memory = Tensor(Type{DType::u8, {static_cast<std::int64_t>(bytes)}}, device, purpose, "program");
}

}  // namespace

ProgramMemory::ProgramMemory(std::shared_ptr<SharedArena> shared)
    : arena_(shared ? std::move(shared) : std::make_shared<SharedArena>()) {}

ProgramMemory::~ProgramMemory() { arena_->may_keep += kept_bytes(); }

void ProgramMemory::make_room(const MemoryPlan& plan, Device device) {
  Tensor& arena = arena_->memory;
  if (!arena.defined() || arena.bytes() < plan.arena) {
    grow(arena, plan.arena, device, Purpose::activation);
  }
  if (kept_bytes() < plan.kept) {
    kept_of_ = nullptr;
    arena_->may_keep += kept_bytes();
    grow(kept_, plan.kept, device, Purpose::workspace);
    arena_->may_keep -= kept_bytes();
  }
}

bool ProgramMemory::begin_run(Specialised& s, std::span<const ParameterRef> parameters) {
  if (s.memory.kept == 0) return false;
  std::vector<std::pair<std::uint64_t, const void*>> now;
  for (const ParameterRef& p : parameters) now.emplace_back(p->version, p->value.data());
  const bool right = kept_of_ == &s && s.fixed_of == now;
  kept_of_ = nullptr;  // until this run has ended well
  s.fixed_of = std::move(now);
  return right;
}

}  // namespace tapescope
