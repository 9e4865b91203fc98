// The report while it is gathered: the parts that any run has, and what each task adds.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/monitoring/history.h"
#include "tools/tasks/picture_explainer.h"
#include "tools/tasks/run.h"

namespace tapescope::tasks {

struct ReportOptions {
  std::string data, split = "test", out;
  std::string methods;  // empty: the task's usual ones
  std::int64_t images = 12, quality = 3, limit = 2000;
  double budget = 32;
  // Of a detector: boxes per picture that are explained, and the least probability of one.
  std::int64_t boxes = 8;
  double threshold = 0.3;
};

constexpr int kThumbnail = 80, kPicture = 224, kMap = 112;  // pixels of the longer side

// Gathers the parts of the page; what cannot be had becomes a note.
class ReportPage {
 public:
  using Json = nlohmann::ordered_json;

  // Both outlive the page.
  ReportPage(const Run& run, const ReportOptions& options, const Backend& backend);
  const ReportOptions& options() const { return options_; }
  const Backend& backend() const { return backend_; }

  Json& operator[](const char* part) { return json_[part]; }
  void note(const std::string& sentence) { json_["notes"].push_back(sentence); }
  void card(const std::string& name, const std::string& value) {
    cards_.push_back({{"name", name}, {"value", value}});
  }

  // What explainers of the page are made with.
  ExplainOptions explain_options() const;

  void structure();
  void parameters();
  void training();
  void activations();  // on the pictures of --data
  void evolution();    // of the watched pictures
  void summary();
  // Writes options().out; the size of the page in bytes.
  std::size_t write();

 private:
  void metrics(const std::filesystem::path& file);  // of the training, as cards

  const Run& run_;
  const ReportOptions& options_;
  Backend backend_;
  monitoring::History history_;
  Json json_;
  Json cards_ = Json::array();
};

// The whole page, written to options.out; its size in bytes.
std::size_t write_report(const Run& run, const ReportOptions& options, const Backend& backend);

}  // namespace tapescope::tasks
