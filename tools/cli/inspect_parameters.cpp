
#include "tools/cli/inspect.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/inspection/parameters.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct InspectParametersArguments {
  RunOptions run;
  bool channels = false, json = false;
  std::string out;
};

// The values before training, where the run still has them.
std::vector<ParameterRef> values_before_training(const tasks::Run& run) {
  const std::filesystem::path initial =
      std::filesystem::path(run.asked().run) / "checkpoints" / "initial.safetensors";
  if (run.path() == initial || !std::filesystem::exists(initial)) return {};
  return tasks::initial_parameters(run);
}

// A sheet of the first convolution's filters.
void draw_filters(const tasks::Run& run, const std::filesystem::path& folder) {
  make_output_folder(folder);
  for (const ParameterRef& parameter : run.model().parameters()) {
    const std::vector<Image> pictures = inspection::filter_pictures(*parameter);
    if (pictures.empty()) continue;
    std::vector<SheetCell> cells;
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      cells.push_back({pictures[i], fmt::format("{}", i)});
    }
    write_png(folder / "filters.png",
              contact_sheet(cells, {.cell_size = 96, .title = parameter->name}));
    return;
  }
  fmt::print(stderr, "this model has no convolution larger than 1x1: no filters to draw\n");
}

int run(InspectParametersArguments& options) {
  if (!options.out.empty()) {
    tasks::files_of(options.run)
        .expect_apart("--out", std::filesystem::path(options.out) / "filters.png");
    expect_writable_folder("--out", options.out);
  }
  options.run.allow_non_finite = true;  // they are what one comes here to find
  const auto opened = tasks::open_run(options.run);
  const std::vector<inspection::ParameterRow> rows =
      inspection::parameters_of(opened->model().parameters(), values_before_training(*opened));
  if (!options.out.empty()) draw_filters(*opened, options.out);
  fmt::print("{}", options.json ? inspection::to_json(rows, options.channels) + "\n"
                                : inspection::to_text(rows, options.channels));
  return 0;
}

std::function<int()> setup_inspect_parameters(CommandLine& line) {
  auto options = std::make_shared<InspectParametersArguments>();
  options->run.add_with_model(line);
  line.flag("--channels", options->channels, "a row per output channel as well");
  line.option("--out", options->out, "folder: draws the first convolution's filters there");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectParameters = {
    "parameters", "a row per tensor: moments, norms, ranks, distance from the initial values",
    "tapescope inspect parameters --run runs/flowers --out filters", setup_inspect_parameters};

}  // namespace tapescope::cli
