#include "tools/training/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"

namespace tapescope {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kWarmUp = 2;
constexpr std::size_t kMostRows = 24;  // of the text: a screen

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Json or_null(bool known, double value) { return known ? Json(value) : Json(); }

// Of all nodes that were recorded for one of the model's.
struct Row {
  std::string owner;
  double forward = 0, other = 0;  // seconds
  double attainable = 0;          // seconds at the ceilings
  Cost cost;
  double seconds() const { return forward + other; }
  void add(const Row& row) {
    forward += row.forward;
    other += row.other;
    attainable += row.attainable;
    cost.flops += row.cost.flops;
    cost.bytes += row.cost.bytes;
  }
};

std::vector<Row> by_owner(const std::vector<ProfiledNode>& nodes, const Ceilings& ceilings) {
  std::map<std::string, Row> rows;
  for (const ProfiledNode& node : nodes) {
    Row& row = rows[node.owner];
    row.owner = node.owner;
    (node.path == node.owner ? row.forward : row.other) += node.seconds;
    row.attainable += node.seconds * node.share_of_roof(ceilings);
    row.cost.flops += node.cost.flops;
    row.cost.bytes += node.cost.bytes;
  }
  std::vector<Row> sorted;
  for (auto& [owner, row] : rows) sorted.push_back(std::move(row));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Row& a, const Row& b) { return a.seconds() > b.seconds(); });
  if (sorted.size() > kMostRows) {
    Row rest;
    rest.owner = fmt::format("{} others", sorted.size() - kMostRows + 1);
    for (std::size_t i = kMostRows - 1; i < sorted.size(); ++i) rest.add(sorted[i]);
    sorted.resize(kMostRows - 1);
    sorted.push_back(std::move(rest));
  }
  return sorted;
}

}  // namespace

double ProfiledNode::share_of_roof(const Ceilings& ceilings) const {
  if (seconds <= 0 || ceilings.flops_per_second <= 0) return 0;
  return std::max(cost.flops / ceilings.flops_per_second, cost.bytes / ceilings.bytes_per_second) /
         seconds;
}

std::vector<Tensor> StepProfile::run(Program& step, std::span<const NamedTensor> inputs,
                                     std::int64_t rows) {
  // A last batch that is not full is another program, and would be mixed in.
  if (rows_ == 0) rows_ = rows;
  if (complete() || rows != rows_ || seen_++ < kWarmUp) return step.run(inputs);
  if (looks_.empty()) {
    steps_ = step.steps(rows);
    first_ = Clock::now();
  }
  Look look;
  look.seconds.assign(steps_.size(), 0);
  look.ends.assign(steps_.size(), 0);
  look.begin = since_first();
  std::vector<Tensor> out = step.run(inputs, [&](const ObservedStep& observed) {
    look.seconds[observed.index] = observed.seconds;
    look.ends[observed.index] = since_first();
    return true;
  });
  look.end = since_first();
  looks_.push_back(std::move(look));
  return out;
}

double StepProfile::step_seconds() const {
  std::vector<double> all;
  for (const Look& look : looks_) all.push_back(look.end - look.begin);
  return median(std::move(all));
}

double StepProfile::kernel_seconds() const {
  double sum = 0;
  for (const ProfiledNode& node : nodes()) sum += node.seconds;
  return sum;
}

std::vector<ProfiledNode> StepProfile::nodes() const {
  std::vector<ProfiledNode> nodes;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const StepInfo& info = steps_[i];
    std::vector<double> seconds;
    for (const Look& look : looks_) seconds.push_back(look.seconds[i]);
    nodes.push_back({info.path, info.owner, std::string(info.op->name()), info.variant,
                     median(std::move(seconds)), info.op->cost(info.operands, info.outputs)});
  }
  return nodes;
}

std::string StepProfile::to_text(const Ceilings& ceilings) const {
  const double whole = step_seconds(), kernels = kernel_seconds();
  std::string text = fmt::format(
      "a step of {} images: {:.2f} ms, {:.2f} of them outside kernels (median of {} steps)\n",
      rows_, 1e3 * whole, 1e3 * std::max(0.0, whole - kernels), looked_at());
  const bool roof = ceilings.flops_per_second > 0;
  if (roof) {
    text += fmt::format("this machine at most: {:.0f} GFLOP/s, {:.1f} GB/s\n",
                        ceilings.flops_per_second / 1e9, ceilings.bytes_per_second / 1e9);
  }
  const std::vector<Row> rows = by_owner(nodes(), ceilings);
  std::size_t width = 4;
  for (const Row& row : rows) width = std::max(width, row.owner.size());
  text += fmt::format("{:<{}}  forward ms  backward ms  share  GFLOP/s   GB/s{}\n", "node", width,
                      roof ? "  of roof" : "");
  for (const Row& row : rows) {
    const double seconds = std::max(row.seconds(), 1e-12);
    text += fmt::format("{:<{}}  {:>10.3f}  {:>11.3f}  {:>3.0f} %  {:>7.1f}  {:>5.1f}", row.owner,
                        width, 1e3 * row.forward, 1e3 * row.other, 100 * row.seconds() / kernels,
                        row.cost.flops / seconds / 1e9, row.cost.bytes / seconds / 1e9);
    text += roof ? fmt::format("  {:>5.0f} %\n", 100 * row.attainable / seconds) : "\n";
  }
  return text;
}

std::string StepProfile::to_json(const Ceilings& ceilings) const {
  const bool roof = ceilings.flops_per_second > 0;
  Json list = Json::array();
  for (const ProfiledNode& node : nodes()) {
    list.push_back({{"path", node.path},
                    {"owner", node.owner},
                    {"op", node.op},
                    {"kernel", node.variant},
                    {"seconds", node.seconds},
                    {"flops", node.cost.flops},
                    {"bytes", node.cost.bytes},
                    {"share_of_roof", or_null(roof, node.share_of_roof(ceilings))}});
  }
  const Json json = {{"steps", looked_at()},
                     {"images_per_step", rows_},
                     {"seconds_per_step", step_seconds()},
                     {"seconds_outside_kernels", std::max(0.0, step_seconds() - kernel_seconds())},
                     {"flops_per_second_at_most", or_null(roof, ceilings.flops_per_second)},
                     {"bytes_per_second_at_most", or_null(roof, ceilings.bytes_per_second)},
                     {"nodes", list}};
  return json_text(json, 2);
}

std::string StepProfile::to_trace() const {
  constexpr double kMicro = 1e6;
  Json events = Json::array();
  const auto event = [&](const std::string& name, double begin, double seconds, int row) {
    events.push_back({{"name", name},
                      {"ph", "X"},
                      {"ts", kMicro * begin},
                      {"dur", kMicro * seconds},
                      {"pid", 1},
                      {"tid", row}});
  };
  for (const Look& look : looks_) {
    event("step", look.begin, look.end - look.begin, 1);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (look.seconds[i] <= 0) continue;
      event(steps_[i].path, look.ends[i] - look.seconds[i], look.seconds[i], 2);
      events.back()["args"] = {{"kernel", steps_[i].variant}, {"for", steps_[i].owner}};
    }
  }
  return json_text(Json{{"traceEvents", events}, {"displayTimeUnit", "ms"}});
}

}  // namespace tapescope
