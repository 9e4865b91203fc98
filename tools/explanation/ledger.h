// Where the relevance of a map stayed, node by node: what `explain --ledger` prints and writes.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/explain/explainer.h"

namespace tapescope {

// The accounts of one picture: see explain::Ledger. Of every line, arrived = passed_on + bias +
// stabiliser + empty; of all, seed = reached + what bias, stabiliser and empty took.
struct LedgerLine {
  std::string path, rule;
  double arrived = 0, passed_on = 0, bias = 0, stabiliser = 0, empty = 0;
};
struct LedgerTable {
  double seed = 0, reached = 0;
  std::vector<LedgerLine> lines;  // from the target down

  LedgerLine total() const;  // sums of bias, stabiliser and empty
  double gap() const;        // what the accounts leave over: rounding
};

// Whether the method hands relevance on by rules: LRP and excitation backprop.
bool keeps_ledger(std::string_view method);

// picture: f32 {1,H,W,C}, index i64 {1}. Throws a usage error where the method keeps no ledger.
LedgerTable ledger_of(std::string_view method, const explain::Explainer::Record& record,
                      const Backend& backend, const Tensor& picture, const Tensor& index,
                      const explain::LrpSettings& settings);

// `seed`, `reached`, `gap`, `bias`, `stabiliser`, `empty`, `nodes` (each `path`, `rule`, `arrived`,
// `passed_on`, `bias`, `stabiliser`, `empty`).
nlohmann::ordered_json ledger_json(const LedgerTable& table);
std::string ledger_text(const LedgerTable& table);

}  // namespace tapescope
