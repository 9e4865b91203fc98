// What is explained: one differentiable scalar per sample, a Var of shape {N}.
#pragma once

#include "autograd/node.h"

namespace tapescope::explain {

// The score of class `index` (i64 {N}) before any softmax: the default target. After a softmax the
// gradients of confident samples vanish and other classes' evidence mixes in.
Var class_logit(Var logits, Var index);

// Activation of one unit of any node, given per sample as a flat position within the sample.
Var unit(Var node, std::int64_t position);

// {N}: sums over everything but the rows.
Var row_sums(Var v);

// Attribution reads a model as it answers: a training tape (dropout, batch statistics) is refused.
void require_evaluation(const Tape& tape, std::string_view method);

}  // namespace tapescope::explain
