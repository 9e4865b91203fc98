// Appends a rule's program for a node that is linear in its active operands.
#pragma once

#include <span>
#include <string>

#include "autograd/explain/rule.h"
#include "autograd/node.h"

namespace tapescope::explain {

struct LinearNode {
  const Node* node;
  unsigned active;                   // bit i: operand i is explained
  const Node* batch_norm = nullptr;  // a normalisation folded into the node's weights
};

// What did not reach an active operand, of the output's shape or broadcasting to it; null: nothing.
struct Taken {
  Var bias;        // constant terms: biases, operands that are not explained
  Var stabiliser;  // the epsilon beside a z that is not zero
  Var empty;       // a denominator with nothing in it; negative where that created relevance
};

// Empty where the rule can be applied to the node, otherwise the reason why not.
std::string why_not(const LinearNode& linear, const Rule& rule);

// Gives each active operand its relevance, `arrived` being that of the node's output. Where `taken`
// is given it is computed from the parts themselves, not as a difference.
void append_linear(const LinearNode& linear, const Rule& rule, Var arrived, std::span<Var> results,
                   Taken* taken);

// Whether the op sums products of its first two operands: a matrix product, a convolution.
bool sums_products(const Op& op);

// Whether no element of the value can be negative, whatever the input.
bool known_nonnegative(Var value);

}  // namespace tapescope::explain
