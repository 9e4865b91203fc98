#include "autograd/walk.h"

#include <algorithm>
#include <array>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

std::vector<Var> walk(Tape& tape, const char* prefix, std::span<const Seed> seeds,
                      std::span<const Var> wrt, Visit visit, std::uint32_t first) {
  const std::uint32_t before = tape.mark();
  const std::vector<bool> active = reached_from(tape, wrt, Through::derivatives);
  // What has arrived at each output so far; nodes have at most Types::kCapacity of them.
  std::vector<std::array<Var, Types::kCapacity>> arrived(before);
  const auto add_to = [&](Var to, Var contribution) {
    Var& sum = arrived[to.node->index][static_cast<std::size_t>(to.output)];
    sum = sum ? add(sum, contribution) : contribution;  // the wider of both dtypes
  };
  try {
    std::uint32_t last = 0;
    for (const Seed& seed : seeds) {
      if (!seed.cotangent) continue;
      add_to(seed.target, seed.cotangent);
      last = std::max(last, seed.target.node->index + 1);
    }
    for (std::uint32_t index = last; index-- > first;) {
      const Node& node = *tape.nodes()[index];
      if (!active[index] || node.op->is_leaf()) continue;
      const std::span<const Var> cotangents(arrived[index].data(), node.output_count);
      bool any = false;
      for (const Var& cotangent : cotangents) any = any || cotangent;
      if (!any) continue;
      unsigned wanted = 0;
      for (int i = 0; i < node.operand_count; ++i) {
        if (passes(node.op->role(i)) && active[node.operand_data[i].node->index]) wanted |= 1u << i;
      }
      if (wanted == 0) continue;
      std::array<Var, kMostOperands> results{};
      const Tape::Scope in = tape.scope_of(prefix, node);
      visit(node, cotangents, wanted, std::span<Var>(results.data(), node.operand_count));
      for (int i = 0; i < node.operand_count; ++i) {
        const Var result = results[static_cast<std::size_t>(i)];
        if (result && (wanted >> i & 1u) != 0) add_to(node.operand_data[i], result);
      }
    }
  } catch (...) {
    tape.rollback(before);
    throw;
  }
  std::vector<Var> result;
  for (const Var& var : wrt) {
    result.push_back(arrived[var.node->index][static_cast<std::size_t>(var.output)]);
  }
  return result;
}

void Vjp::give_by_decomposition() {
  Tape& tape = this->tape();
  const std::uint32_t first = tape.mark();
  const std::vector<Var> outputs = node_.op->decompose(tape, node_.operands());
  std::vector<Seed> seeds;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    seeds.push_back({outputs[i], cotangent(static_cast<int>(i))});
  }
  std::vector<Var> wrt;
  std::vector<int> position;
  for (int i = 0; i < operand_count(); ++i) {
    // An operand given twice gets all of its gradient in one place.
    if (!wants(i) || std::find(wrt.begin(), wrt.end(), operand(i)) != wrt.end()) continue;
    wrt.push_back(operand(i));
    position.push_back(i);
  }
  const std::vector<Var> results = walk(
      tape, tape.prefix(), seeds, wrt,
      [](const Node& node, std::span<const Var> cotangents, unsigned wanted,
         std::span<Var> results) {
        Vjp v(node, cotangents, wanted, results);
        node.op->vjp(v);
      },
      first);
  for (std::size_t i = 0; i < wrt.size(); ++i) give(position[i], results[i]);
}

}  // namespace tapescope
