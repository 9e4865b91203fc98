#include "autograd/explain/target.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope::explain {

Var class_logit(Var logits, Var index) { return gather(logits, index); }

Var unit(Var node, std::int64_t position) {
  const std::int64_t units = node.shape().elements(1, node.shape().rank());
  if (position < 0 || position >= units) {
    throw usage_error("[unit] '{}' has {} units per sample; there is no unit {}", node.path(),
                      units, position);
  }
  return reshape(slice(reshape(node, {units}), 1, position, position + 1), {});
}

Var row_sums(Var v) {
  const int rank = v.shape().rank();
  if (rank <= 1) return v;
  std::vector<int> axes;
  for (int axis = 1; axis < rank; ++axis) axes.push_back(axis);
  return reshape(reduce_sum(v, axes), {});
}
void require_evaluation(const Tape& tape, std::string_view method) {
  if (tape.mode() == Mode::training) {
    throw usage_error(
        "[{}] this is a training tape: its dropout and batch statistics are not what the model "
        "answers with; record the model on an evaluation tape",
        method);
  }
}

}  // namespace tapescope::explain
