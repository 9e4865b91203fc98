#include <CLI/CLI.hpp>

#include "tools/cli/picture_files.h"
#include "tools/cli/report_page.h"

namespace tapescope::cli {
namespace {

int run(const ReportOptions& options) {
  InputFiles inputs = files_of(options.run);
  // A report that an earlier call left beside the data is no data.
  if (std::filesystem::path(options.out).extension() != ".html") inputs.add(options.data);
  inputs.expect_apart("--out", options.out);
  options.run.apply();
  const std::filesystem::path folder = std::filesystem::path(options.out).parent_path();
  if (!folder.empty()) make_output_folder(folder);
  ReportPage page(options);
  page.structure();
  page.parameters();
  page.training();
  if (options.data.empty()) {
    page.note(
        "without --data there are no predictions, activation functions and explanations here");
  } else {
    page.activations();
    (page.opened().detector ? report_detection : report_classification)(page);
  }
  page.evolution();
  page.summary();
  page.write();
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  options->run.add_to(app);
  options->run.add_allow_outside(app);
  app.add_option("--data", options->data,
                 "the data: adds predictions, activation functions and explanations");
  app.add_option("--split", options->split, "train, validation or test")->capture_default_str();
  app.add_option("--out", options->out, "the HTML file to write")->required();
  app.add_option("--method", options->methods,
                 "explanations, NAME[,NAME]...; default: grad-cam,lrp-epsilon-plus,"
                 "integrated-gradients, of a detector odam,lrp-epsilon-plus,saliency");
  app.add_option("--images", options->images, "explained images: half the worst, half the best")
      ->capture_default_str()
      ->check(CLI::Range(0, 200));
  app.add_option("--budget", options->budget, "forward passes a map of a sampling method may take")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--quality", options->quality,
                 "images, of a detector boxes, on which the explanations are scored; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 200));
  app.add_option("--boxes", options->boxes,
                 "of a detector: explained boxes a picture, wrong, missed and right ones in turn")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  app.add_option("--threshold", options->threshold,
                 "of a detector: least probability of a box in pictures and counts of errors")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 1.0));
  app.add_option("--limit", options->limit, "most images of the split that are looked at")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kReport = {
    "report", "a page of one file: curves, diagnosis, structure, activations, explanations",
    "tapescope report --run runs/flowers --data flowers --out report.html", setup};

}  // namespace tapescope::cli
