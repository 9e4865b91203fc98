// The report while it is gathered: the parts that any run has, and what each task adds.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "autograd/explain/explainer.h"
#include "tools/cli/inspected.h"
#include "tools/monitoring/history.h"
#include "tools/quality/panel.h"

namespace tapescope::cli {

struct ReportOptions {
  RunOptions run;
  std::string data, split = "test", out;
  std::string methods;  // empty: the task's usual ones
  std::int64_t images = 12, quality = 3, limit = 2000;
  double budget = 32;
  // Of a detector: boxes a picture that are explained, and the least probability of one.
  std::int64_t boxes = 8;
  double threshold = 0.3;
};

constexpr int kThumbnail = 80, kPicture = 224, kMap = 112;  // pixels of the longer side

// Gathers the parts of the page; what cannot be had becomes a note.
class ReportPage {
 public:
  using Json = nlohmann::ordered_json;

  explicit ReportPage(const ReportOptions& options);
  const ReportOptions& options() const { return options_; }
  const InspectedModel& opened() const { return opened_; }
  const Backend& backend() const { return backend_; }

  Json& operator[](const char* part) { return json_[part]; }
  void note(const std::string& sentence) { json_["notes"].push_back(sentence); }
  void card(const std::string& name, const std::string& value) {
    cards_.push_back({{"name", name}, {"value", value}});
  }

  void structure();
  void parameters();
  void training();
  void activations();  // on the pictures of --data
  void evolution();    // of the watched pictures
  void summary();
  void write();

 private:
  const ReportOptions& options_;
  InspectedModel opened_;
  Backend backend_;
  monitoring::History history_;
  Json json_;
  Json cards_ = Json::array();
};

// What only a classifier has: confusion, worst and best answers with their explanations, labels
// that may be wrong.
void report_classification(ReportPage& page);
// What only a detector has: precision and recall, kinds of errors, worst and best pictures with
// explanations of their boxes.
void report_detection(ReportPage& page);

// A map that the page colours and reads out.
ReportPage::Json map_json(const explain::Attribution& attribution);

// Scores of explanations, gathered by method.
class QualityTable {
 public:
  explicit QualityTable(std::span<const quality::MetricInfo> metrics) : metrics_(metrics) {}
  void add(const quality::PanelRow& row);
  // Nothing where nothing was added; controls last. What the means are over: "image", "images".
  void write(ReportPage& page, const char* one, const char* many) const;

 private:
  std::span<const quality::MetricInfo> metrics_;
  std::map<std::string, std::vector<quality::Panel>> panels_;
  std::vector<std::string> order_;
};

}  // namespace tapescope::cli
