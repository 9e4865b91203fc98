#include "autograd/reach.h"

#include "autograd/tape.h"

namespace tapescope {
namespace {

std::vector<bool> marked(const Tape& tape, std::span<const Var> vars) {
  std::vector<bool> marks(tape.nodes().size(), false);
  for (const Var& var : vars) marks[var.node->index] = true;
  return marks;
}

// Calls visit(index of the operand's node) for each operand that is followed.
template <class Visit>
void follow(const Node& node, Through through, Visit&& visit) {
  for (int i = 0; i < node.operand_count; ++i) {
    if (through == Through::everything || passes(node.op->role(i))) {
      visit(node.operand_data[i].node->index);
    }
  }
}

}  // namespace

// Operands come before their node, so one pass settles either direction.
std::vector<bool> reached_from(const Tape& tape, std::span<const Var> from, Through through) {
  std::vector<bool> reached = marked(tape, from);
  for (const Node* node : tape.nodes()) {
    follow(*node, through, [&](std::uint32_t operand) {
      if (reached[operand]) reached[node->index] = true;
    });
  }
  return reached;
}

std::vector<bool> leading_to(const Tape& tape, std::span<const Var> to, Through through) {
  std::vector<bool> leads = marked(tape, to);
  for (std::size_t i = leads.size(); i-- > 0;) {
    if (leads[i]) follow(*tape.nodes()[i], through, [&](std::uint32_t k) { leads[k] = true; });
  }
  return leads;
}

std::vector<bool> between(const Tape& tape, std::span<const Var> from, std::span<const Var> to,
                          Through through) {
  std::vector<bool> on_way = reached_from(tape, from, through);
  const std::vector<bool> leads = leading_to(tape, to, through);
  for (std::size_t i = 0; i < on_way.size(); ++i) on_way[i] = on_way[i] && leads[i];
  return on_way;
}

}  // namespace tapescope
