// Relevance: the backward walk with a composite's rules in place of the derivatives.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "autograd/explain/composite.h"

namespace tapescope::explain {

// Where relevance stayed, one row a node, each entry {N}: arrived = passed_on + bias + stabiliser +
// empty, with every term computed for itself. Summed over all rows, `bias`, `stabiliser` and
// `empty` are what the seed is more than the relevance of the explained Vars.
struct LedgerRow {
  std::string path, rule;
  Var arrived, passed_on;
  Var bias;        // taken by constant terms: biases, operands that are not explained
  Var stabiliser;  // taken by the stabiliser of a denominator
  Var empty;       // taken by denominators with nothing in them; negative where they created some
};
struct Ledger {
  Var seed;                     // {N}
  std::vector<LedgerRow> rows;  // in the order of the walk, from the target down
  Var reached;                  // {N}: what arrived at all of the explained Vars
};

// Appends the program that distributes `target` (one scalar per sample) over `wrt`, one Var each of
// wrt[i]'s type. The seed is the target's value, or 1 where the composite starts from that,
// unless given. Every node on the way needs a rule: those without one are listed in the
// error before anything is appended. With `ledger` the accounts are appended as well.
std::vector<Var> relevance(Tape& tape, Var target, std::span<const Var> wrt,
                           const Composite& composite, Var seed = {}, Ledger* ledger = nullptr);

// Contrastive excitation backprop: excitation less inhibition, of wrt's type. Positive where an
// element speaks for the target more than against it.
Var contrastive_excitation_backprop(Tape& tape, Var target, Var wrt);

}  // namespace tapescope::explain
