// Which explanations of a run are good: every method by every metric, over pictures of a split.
#pragma once

#include "tools/tasks/picture_explainer.h"
#include "tools/tasks/run.h"

namespace tapescope::tasks {

struct BenchmarkCommand {
  ExplainOptions options = {};
  DataRequest data;        // its limit: pictures, spread over the split
  std::string masks = {};  // folder that mirrors the data's; empty: none
  bool cascade = false;    // also make the layers random one by one
};

Answer benchmark_explanations(const Run& run, const BenchmarkCommand& command);

// Scores gathered by group and method.
class QualityTable {
 public:
  explicit QualityTable(std::span<const quality::MetricInfo> metrics) : metrics_(metrics) {}
  void add(const std::string& group, const quality::PanelRow& row);
  const std::vector<std::string>& groups() const { return groups_; }
  // In the order they came in; controls last.
  std::vector<std::string> methods() const;
  const std::vector<quality::Panel>& panels(const std::string& group,
                                            const std::string& method) const;
  std::span<const quality::MetricInfo> metrics() const { return metrics_; }
  // {"over": "3 images", "metrics": [...], "methods": [...]} of one group; null where nothing was
  // added. `one`, `many`: what the means are over.
  nlohmann::ordered_json json(const std::string& group, const char* one, const char* many) const;

 private:
  std::span<const quality::MetricInfo> metrics_;
  std::vector<std::string> groups_, methods_;
  std::map<std::pair<std::string, std::string>, std::vector<quality::Panel>> panels_;
};

}  // namespace tapescope::tasks
