#include "tools/explanation/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "autograd/explain/methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"

namespace tapescope {
LedgerLine LedgerTable::total() const {
  LedgerLine sum;
  for (const LedgerLine& line : lines) {
    sum.bias += line.bias;
    sum.stabiliser += line.stabiliser;
    sum.empty += line.empty;
  }
  return sum;
}

double LedgerTable::gap() const {
  const LedgerLine taken = total();
  return seed - reached - taken.bias - taken.stabiliser - taken.empty;
}

bool keeps_ledger(std::string_view method) {
  const std::optional<explain::Composite> composite = explain::composite_of(method);
  return composite && composite->domain() == explain::Composite::Domain::relevance;
}

LedgerTable ledger_of(std::string_view method, const explain::Explainer::Record& record,
                      const Backend& backend, const Tensor& picture, const Tensor& index,
                      const explain::LrpSettings& settings) {
  if (!keeps_ledger(method)) {
    throw usage_error(
        "'{}' hands no relevance from node to node: it keeps no ledger; lrp-epsilon "
        "and the other lrp methods do",
        method);
  }
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image = tape.input("image", picture.to(backend.device));
  const Var logits = record(tape, image);
  const Var target = explain::class_logit(logits, tape.constant(index.to(backend.device)));
  const Var wrt[] = {image};
  explain::Ledger ledger;
  explain::relevance(tape, target, wrt, *explain::composite_of(method, settings), {}, &ledger);
  LedgerTable table;
  table.seed = ledger.seed.value().item();
  table.reached = ledger.reached.value().item();
  for (const explain::LedgerRow& row : ledger.rows) {
    table.lines.push_back({row.path, row.rule, row.arrived.value().item(),
                           row.passed_on.value().item(), row.bias.value().item(),
                           row.stabiliser.value().item(), row.empty.value().item()});
  }
  return table;
}

nlohmann::ordered_json ledger_json(const LedgerTable& table) {
  const LedgerLine taken = table.total();
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
  for (const LedgerLine& line : table.lines) {
    nodes.push_back({{"path", line.path},
                     {"rule", line.rule},
                     {"arrived", line.arrived},
                     {"passed_on", line.passed_on},
                     {"bias", line.bias},
                     {"stabiliser", line.stabiliser},
                     {"empty", line.empty}});
  }
  return {{"seed", table.seed},   {"reached", table.reached},
          {"bias", taken.bias},   {"stabiliser", taken.stabiliser},
          {"empty", taken.empty}, {"gap", table.gap()},
          {"nodes", nodes}};
}

std::string ledger_text(const LedgerTable& table) {
  std::size_t path = 4, rule = 4;
  for (const LedgerLine& line : table.lines) {
    path = std::max(path, line.path.size());
    rule = std::max(rule, line.rule.size());
  }
  const auto row = [&](std::string_view name, std::string_view by, const LedgerLine& line) {
    return fmt::format("{:<{}}  {:<{}}  {:>10.5g} {:>10.5g} {:>10.4g} {:>10.3g} {:>10.4g}\n", name,
                       path, by, rule, line.arrived, line.passed_on, line.bias, line.stabiliser,
                       line.empty);
  };
  std::string text =
      fmt::format("{:<{}}  {:<{}}  {:>10} {:>10} {:>10} {:>10} {:>10}\n", "node", path, "rule",
                  rule, "arrived", "passed on", "bias", "stabiliser", "empty");
  for (const LedgerLine& line : table.lines) text += row(line.path, line.rule, line);
  LedgerLine all = table.total();
  all.arrived = table.seed;
  all.passed_on = table.reached;
  text += row("all", "", all);
  return text + fmt::format("rounding leaves {:.2g} of the seed over\n",
                            table.seed == 0 ? table.gap() : table.gap() / table.seed);
}

}  // namespace tapescope
