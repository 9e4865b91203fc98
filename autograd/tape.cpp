#include "autograd/tape.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "autograd/leaf.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "autograd/walk.h"
#include "engine/philox.h"
#include "engine/runtime.h"

namespace tapescope {

// One scope path and what was recorded in it.
struct ScopeRecord {
  const char* path = "";
  std::vector<std::unique_ptr<ScopeUse>> uses;
};

namespace {
constexpr std::uint32_t kBlock = 64 << 10;

// Arena blocks outlive their tape, up to a few megabytes: short tapes come one after another, and
// fresh memory would be faulted in page by page for each.
class BlockPool {
 public:
  std::unique_ptr<std::byte[]> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (blocks_.empty()) return std::make_unique_for_overwrite<std::byte[]>(kBlock);
    std::unique_ptr<std::byte[]> block = std::move(blocks_.back());
    blocks_.pop_back();
    return block;
  }
  void give(std::vector<std::unique_ptr<std::byte[]>>& blocks) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& block : blocks) {
      if (blocks_.size() < 64) blocks_.push_back(std::move(block));
    }
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
};
BlockPool& block_pool() {
  static auto* pool = new BlockPool;  // tapes may live in static storage
  return *pool;
}

std::string joined(std::string_view scope, std::string_view name) {
  return scope.empty()  ? std::string(name)
         : name.empty() ? std::string(scope)
                        : fmt::format("{}/{}", scope, name);
}
}  // namespace

const Tensor& Var::value() const {
  if (!has_value()) {
    if (node == nullptr) missing();
    throw usage_error(
        "'{}' has no value: the tape is symbolic; compile a Program that returns it, or give the "
        "inputs as tensors",
        path());
  }
  return node->value_data[output];
}

void Var::missing() {
  throw usage_error("a null Var has no type, path or tape: an operand or an output is missing");
}

void require_operands(std::string_view op, std::initializer_list<Var> operands) {
  int i = 0;
  for (const Var& operand : operands) {
    if (!operand) throw usage_error("[{}] operand {} is missing", op, i);
    ++i;
  }
}

Node& record(OpRef op, std::span<const Var> operands) {
  require_operands(op->name(), {operands.empty() ? Var{} : operands[0]});
  return operands[0].tape().record(std::move(op), operands);
}

std::string Node::path() const {
  return use_number == 1 ? std::string(use->label) : fmt::format("{}#{}", use->label, use_number);
}

std::string_view Node::scope() const {
  const std::string_view label(use->label);
  const std::size_t slash = label.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : label.substr(0, slash);
}

Tape::Tape(Device device, Mode mode, TapeOptions options)
    : backend_{device, options.kernels, options.precision},
      mode_(mode),
      options_(std::move(options)),
      queue_(DeviceRuntime::of(device).compute_queue()) {
  current_ = enter("");
  changes_seen_ = Parameter::changes().load(std::memory_order_relaxed);
}

Tape::~Tape() {
  rollback(0);
  block_pool().give(blocks_);
}

void* Tape::arena(std::size_t bytes) {
  bytes = (bytes + 15) / 16 * 16;
  if (blocks_.empty() || block_used_ + bytes > kBlock) {
    if (!blocks_.empty()) ++block_;
    if (block_ == blocks_.size()) blocks_.push_back(block_pool().take());
    block_used_ = 0;
  }
  void* memory = blocks_[block_].get() + block_used_;
  block_used_ += static_cast<std::uint32_t>(bytes);
  return memory;
}

ScopeRecord* Tape::enter(std::string_view path) {
  std::unique_ptr<ScopeRecord>& record = scopes_[std::string(path)];
  if (!record) {
    record = std::make_unique<ScopeRecord>();
    record->path = intern(path);
  }
  return record.get();
}

ScopeUse* Tape::use_of(ScopeRecord& scope, std::string_view op) {
  for (const auto& use : scope.uses)
    if (use->op == op) return use.get();
  auto use = std::make_unique<ScopeUse>();
  use->op = op;
  use->label = intern(joined(scope.path, op));
  scope.uses.push_back(std::move(use));
  return scope.uses.back().get();
}

Tape::Scope::Scope(Tape& tape, std::string_view path, const Node* origin, const char* prefix)
    : tape_(tape),
      outer_(std::exchange(tape.current_, tape.enter(path))),
      outer_origin_(std::exchange(tape.origin_, origin)),
      outer_prefix_(std::exchange(tape.prefix_, prefix)) {}

Tape::Scope::Scope(Tape& tape, std::string_view name)
    : Scope(tape, joined(tape.current_->path, name), tape.origin_, tape.prefix_) {}

Tape::Scope::~Scope() {
  tape_.current_ = outer_;
  tape_.origin_ = outer_origin_;
  tape_.prefix_ = outer_prefix_;
}

Tape::Scope Tape::scope_of(const char* prefix, const Node& node) {
  const bool under_it = std::string_view(prefix) == node.prefix;  // a gradient of a gradient
  return Scope(*this, under_it ? std::string(node.scope()) : joined(prefix, node.scope()), &node,
               prefix);
}

std::uint64_t Tape::random_key(std::string_view op) {
  const int uses = use_of(*current_, op)->count;
  return mix(mix(options_.seed, stable_hash(current_->path)), static_cast<std::uint64_t>(uses));
}

Node& Tape::append(OpRef op, std::span<const Var> operands, std::span<const Type> types,
                   ScopeUse* use) {
  const std::uint32_t block = block_, used = block_used_;
  Node* node = new (arena(sizeof(Node))) Node;
  node->arena_block = block;
  node->arena_used = used;
  node->op = std::move(op);
  node->tape = this;
  node->index = static_cast<std::uint32_t>(nodes_.size());
  node->operand_count = static_cast<std::uint16_t>(operands.size());
  node->output_count = static_cast<std::uint16_t>(types.size());
  node->operand_data = static_cast<Var*>(arena(operands.size() * sizeof(Var)));
  std::uninitialized_copy(operands.begin(), operands.end(), node->operand_data);
  node->type_data = static_cast<Type*>(arena(types.size() * sizeof(Type)));
  std::uninitialized_copy(types.begin(), types.end(), node->type_data);
  node->value_data = static_cast<Tensor*>(arena(types.size() * sizeof(Tensor)));
  std::uninitialized_default_construct_n(node->value_data, types.size());
  if (node->op->rows_independent()) {
    for (const Var& operand : operands) node->batched |= operand.node->batched;
  }
  node->origin = origin_;
  node->prefix = prefix_;
  node->use = use;
  node->use_number = ++use->count;
  nodes_.push_back(node);
  return *node;
}

Var Tape::leaf(OpRef op, const char* label, Type type, Tensor value) {
  leaf_uses_.push_back(std::make_unique<ScopeUse>());
  leaf_uses_.back()->label = label;
  Node& node = append(std::move(op), {}, std::span<const Type>(&type, 1), leaf_uses_.back().get());
  node.value_data[0] = std::move(value);
  return node.out();
}

Var Tape::input(std::string_view name, DType dtype, Shape shape) {
  const Type type{dtype, shape};
  if (auto it = inputs_.find(name); it != inputs_.end()) {
    if (it->second.type() != type) {
      throw usage_error("input '{}' is already on the tape as {}, not {}", name,
                        to_string(it->second.type()), to_string(type));
    }
    return it->second;
  }
  symbolic_ = true;
  const Var var = leaf(std::make_shared<InputOp>(std::string(name)), intern(name), type, {});
  var.node->batched = true;
  inputs_.emplace(std::string(name), var);
  return var;
}

Var Tape::input(std::string_view name, Tensor value) {
  if (inputs_.contains(name)) throw usage_error("input '{}' is already on the tape", name);
  value = value.to(device());
  const Type type = value.type();
  const Var var =
      leaf(std::make_shared<InputOp>(std::string(name)), intern(name), type, std::move(value));
  var.node->batched = true;
  inputs_.emplace(std::string(name), var);
  return var;
}

Var Tape::parameter(const ParameterRef& parameter) {
  if (auto it = parameters_.find(parameter.get()); it != parameters_.end()) return it->second;
  check_device(*parameter, device());
  const Var var = leaf(std::make_shared<ParameterOp>(parameter), intern(parameter->name),
                       parameter->value.type(), parameter->value);
  parameters_.emplace(parameter.get(), var);
  parameter_versions_.emplace_back(parameter, parameter->version);
  return var;
}

Var Tape::constant(Tensor value) {
  value = value.to(device());
  const Type type = value.type();
  Tensor copy = value;
  return leaf(std::make_shared<ConstantOp>(std::move(copy)), "constant", type, std::move(value));
}

Var Tape::step() {
  if (auto it = inputs_.find("step"); it != inputs_.end()) return it->second;
  return symbolic_ ? input("step", DType::i64, {}) : input("step", Tensor::scalar_i64(0));
}

Node& Tape::record(OpRef op, std::span<const Var> operands) {
  while (!operands.empty() && !operands.back() &&
         op->role(static_cast<int>(operands.size()) - 1) == Role::bias) {
    operands = operands.first(operands.size() - 1);
  }
  if (operands.size() > std::size_t{kMostOperands}) {
    throw usage_error("[{}] {} operands; a node has at most {}", op->name(), operands.size(),
                      kMostOperands);
  }
  // Left as it is but for the types at hand: clearing all of it would cost more than the rest.
  alignas(Type) std::byte memory[kMostOperands * sizeof(Type)];
  Type* const types = reinterpret_cast<Type*>(memory);
  bool eager = !symbolic_;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (!operands[i] || operands[i].node->tape != this) {
      throw usage_error("[{}] operand {} is {}", op->name(), i,
                        operands[i] ? "from another tape" : "missing");
    }
    new (types + i) Type(operands[i].type());
    eager = eager && operands[i].has_value();
  }
  const std::span<const Type> operand_types(types, operands.size());
  const Types outputs = op->infer(operand_types);
  ScopeUse* const use = use_of(*current_, op->name());
  if (!eager) return append(std::move(op), operands, outputs, use);

  check_current();
  std::array<Tensor, Types::kCapacity> values;
  compute(*op, operand_types, operands, outputs, use->label, values.data());
  Node& node = append(std::move(op), operands, outputs, use);
  for (int i = 0; i < outputs.size(); ++i) {
    node.value_data[i] = std::move(values[static_cast<std::size_t>(i)]);
  }
  return node;
}

// Eager values come one op at a time, each into memory of its own that the tape keeps: there is no
// order to plan and no memory to share, so they take this short way and not a Program's.
void Tape::compute(const Op& op, std::span<const Type> types, std::span<const Var> operands,
                   std::span<const Type> outputs, const char* label, Tensor* values) {
  if (const int aliased = op.alias(); aliased >= 0) {
    values[0] = operands[static_cast<std::size_t>(aliased)].value().reshape(outputs[0].shape);
    return;
  }
  const Plan plan = op.prepare(types, outputs, backend_);
  std::array<const void*, kMostOperands> in{};
  std::array<void*, Types::kCapacity> out{};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    in[i] = operands[i].node->value_data[operands[i].output].data();
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    values[i] = Tensor(outputs[i], device(), Purpose::activation, label);
    out[i] = values[i].data();
  }
  if (plan.workspace_bytes() > 0 &&
      (!workspace_.defined() || workspace_.bytes() < plan.workspace_bytes())) {
    workspace_ = {};
    workspace_ = Tensor(Type{DType::u8, {static_cast<std::int64_t>(plan.workspace_bytes())}},
                        device(), Purpose::workspace, label);
  }
  plan.run(queue_, {in.data(), out.data(), workspace_.defined() ? workspace_.data() : nullptr});
}

void Tape::check_current() {
  const std::uint64_t changes = Parameter::changes().load(std::memory_order_relaxed);
  if (changes == changes_seen_) return;
  for (const auto& [parameter, version] : parameter_versions_) {
    if (parameter->version != version) {
      throw usage_error(
          "parameter '{}' has changed since this tape recorded values computed from it; record "
          "what follows on a new tape",
          parameter->name);
    }
  }
  changes_seen_ = changes;
}

void Tape::rollback(std::uint32_t mark) {
  if (mark >= nodes_.size()) return;
  const auto dropped = [mark](const Var& var) { return var.node->index >= mark; };
  std::erase_if(inputs_, [&](const auto& entry) { return dropped(entry.second); });
  std::erase_if(parameters_, [&](const auto& entry) { return dropped(entry.second); });
  std::erase_if(lowered_, [&](const auto& entry) { return dropped(entry.second); });
  std::erase_if(parameter_versions_,
                [&](const auto& entry) { return !parameters_.contains(entry.first.get()); });
  std::erase_if(assignments_, [&](const Effect& effect) { return dropped(effect.value); });
  replays_.clear();
  while (nodes_.size() > mark) {
    Node* node = nodes_.back();
    nodes_.pop_back();
    --node->use->count;
    block_ = node->arena_block;
    block_used_ = node->arena_used;
    std::destroy_n(node->value_data, node->output_count);
    std::destroy_at(node);
  }
}

std::vector<Var> Tape::gradient(Var target, std::span<const Var> wrt, Var seed) {
  if (!is_floating(target.dtype())) {
    throw usage_error("[gradient] '{}' is {}: only floating values have gradients", target.path(),
                      to_string(target.type()));
  }
  const std::uint32_t before = mark();
  const bool rows = target.shape().rank() == 1 && !seed;
  try {
    if (!seed) {
      const Scope in = scope_of("gradient", *target.node);
      seed = ones_like(target);
    }
    if (seed.shape() != target.shape()) {
      throw usage_error("[gradient] the seed has shape {} but '{}' has {}", to_string(seed.shape()),
                        target.path(), to_string(target.shape()));
    }
    const Seed seeds[] = {{target, seed}};
    std::vector<Var> result = walk(
        *this, "gradient", seeds, wrt,
        [&](const Node& node, std::span<const Var> cotangents, unsigned wanted,
            std::span<Var> results) {
          if (rows && !node.op->rows_independent()) {
            throw usage_error(
                "[gradient] '{}' mixes the rows of a batch, so '{}' of shape {} has no gradient of "
                "each sample alone; record the model on an evaluation tape, or differentiate a "
                "scalar",
                node.path(), target.path(), to_string(target.shape()));
          }
          Vjp v(node, cotangents, wanted, results);
          node.op->vjp(v);
        });
    for (std::size_t i = 0; i < wrt.size(); ++i) {
      const Scope in = scope_of("gradient", *wrt[i].node);
      // Counters have no derivative; asking for all of a model's parameters includes them.
      result[i] = result[i]                     ? cast(result[i], wrt[i].dtype())
                  : is_floating(wrt[i].dtype()) ? zeros_like(wrt[i])
                                                : constant(Tensor::zeros(wrt[i].type(), device()));
    }
    return result;
  } catch (...) {
    rollback(before);
    throw;
  }
}

std::vector<Var> Tape::gradient(Var target, std::span<const ParameterRef> parameters) {
  std::vector<Var> wrt;
  for (const ParameterRef& parameter : parameters) wrt.push_back(this->parameter(parameter));
  return gradient(target, wrt);
}

Effect Tape::assign(const ParameterRef& state, Var value) {
  if (value.type() != state->value.type()) {
    throw usage_error("[assign] '{}' is {} and cannot become '{}' of type {}", state->name,
                      to_string(state->value.type()), value.path(), to_string(value.type()));
  }
  for (const Effect& earlier : assignments_) {
    if (earlier.state != state) continue;
    const Var before[] = {pending(state)};
    if (!reached_from(*this, before, Through::everything)[value.node->index]) {
      throw usage_error(
          "[assign] '{}' is assigned twice and the second value, '{}', does not derive from "
          "tape.pending(state): the first would be lost",
          state->name, value.path());
    }
    break;
  }
  assignments_.push_back({state, value});
  return assignments_.back();
}

Var Tape::pending(const ParameterRef& state) {
  for (auto it = assignments_.rbegin(); it != assignments_.rend(); ++it) {
    if (it->state == state) return it->value;
  }
  return parameter(state);
}

Effects Tape::effects() const {
  Effects last;
  for (const Effect& effect : assignments_) {
    auto same = std::find_if(last.begin(), last.end(),
                             [&](const Effect& e) { return e.state == effect.state; });
    if (same != last.end()) {
      same->value = effect.value;
    } else {
      last.push_back(effect);
    }
  }
  return last;
}

}  // namespace tapescope
