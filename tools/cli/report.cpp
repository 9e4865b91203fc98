#include <fmt/format.h>

#include "tools/cli/cli.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/tasks/kit.h"
#include "tools/tasks/report_page.h"

namespace tapescope::cli {
namespace {

struct ReportArguments {
  RunOptions run;
  tasks::ReportOptions report;
};

int run(const ReportArguments& options) {
  const tasks::ReportOptions& report = options.report;
  InputFiles inputs = tasks::files_of(options.run);
  // A report that an earlier call left beside the data is no data.
  if (std::filesystem::path(report.out).extension() != ".html") inputs.add(report.data);
  inputs.expect_apart("--out", report.out);
  options.run.apply();
  const std::filesystem::path folder = std::filesystem::path(report.out).parent_path();
  if (!folder.empty()) make_output_folder(folder);
  expect_writable("--out", report.out);
  const auto run = tasks::open_run(options.run);
  const std::size_t bytes = tasks::write_report(*run, report, options.run.backend());
  fmt::print("{}: {:.1f} MB\n", report.out, static_cast<double>(bytes) / 1e6);
  return 0;
}

std::function<int()> setup_report(CommandLine& line) {
  auto options = std::make_shared<ReportArguments>();
  options->run.add_with_model(line);
  options->run.add_allow_outside(line);
  line.option("--data", options->report.data,
              "the data: adds predictions, activation functions and explanations");
  line.option("--split", options->report.split, "train, validation or test").show_default();
  line.option("--out", options->report.out, "the HTML file to write").required();
  line.option("--method", options->report.methods,
              "explanations, NAME[,NAME]...; default: grad-cam,lrp-epsilon-plus,"
              "integrated-gradients, of a detector odam,lrp-epsilon-plus,saliency");
  line.option("--images", options->report.images, "explained images: half the worst, half the best")
      .show_default()
      .range(0, 200);
  line.option("--budget", options->report.budget,
              "forward passes per map of a sampling method may take")
      .show_default()
      .positive();
  line.option("--quality", options->report.quality,
              "images, of a detector boxes, on which the explanations are scored; 0: none")
      .show_default()
      .range(0, 200);
  line.option("--boxes", options->report.boxes,
              "of a detector: explained boxes per picture, wrong, missed and right ones in turn")
      .show_default()
      .range(0, 1000);
  line.option("--threshold", options->report.threshold,
              "of a detector: least probability of a box in pictures and counts of errors")
      .show_default()
      .range(0.01, 1.0);
  line.option("--limit", options->report.limit, "most images of the split that are looked at")
      .show_default()
      .range(1, 1 << 30);
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kReport = {
    "report", "a page of one file: curves, diagnosis, structure, activations, explanations",
    "tapescope report --run runs/flowers --data flowers --out report.html", setup_report};

}  // namespace tapescope::cli
