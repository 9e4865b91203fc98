#include <fmt/ranges.h>

#include "tools/cli/inspect.h"
#include "tools/files/atomic_file.h"
#include "tools/inspection/structure_graph.h"

namespace tapescope::cli {
namespace {

struct InspectStructureArguments {
  ModelSource source;
  bool json = false, time = false;
  std::int64_t batch_size = 1;
  std::string graph, colour_by = "macs", diff;
};

struct Read {
  std::string model;
  Shape image;
  inspection::Structure structure;
};

Read read(const ModelSource& source, const InspectStructureArguments& options) {
  const auto opened = source.open();
  inspection::StructureOptions structure_options{.backend = source.run.backend()};
  if (options.time) structure_options.measure_batch = options.batch_size;
  const Shape image = opened->preprocess().image;
  return {opened->name(), image,
          inspection::structure_of(tasks::record_of(opened->model()), image, structure_options)};
}

// A run directory or a model of the zoo at the same image size.
ModelSource other_source(const InspectStructureArguments& options) {
  ModelSource other = options.source;
  const bool is_run = std::filesystem::is_directory(options.diff);
  other.run.run = is_run ? options.diff : "";
  other.model.name = is_run ? "" : options.diff;
  return other;
}

void expect_graph(const InspectStructureArguments& options) {
  inspection::column({}, options.colour_by);  // tells an unknown name
  if (!options.graph.ends_with(".svg") && !options.graph.ends_with(".dot")) {
    throw usage_error("--graph '{}' must end with .svg or .dot", options.graph);
  }
  if (options.colour_by.ends_with("seconds") && !options.time) {
    throw usage_error("--color-by {} needs --time", options.colour_by);
  }
  expect_writable("--graph", options.graph);
}

int run(const InspectStructureArguments& options) {
  if (!options.graph.empty()) expect_graph(options);
  const Read mine = read(options.source, options);
  const inspection::Structure& structure = mine.structure;
  if (!options.graph.empty()) {
    write_atomically(options.graph, options.graph.ends_with(".svg")
                                        ? inspection::to_svg(structure, options.colour_by)
                                        : inspection::to_dot(structure, options.colour_by));
  }
  if (!options.diff.empty()) {
    const Read theirs = read(other_source(options), options);
    const std::string text = inspection::diff(theirs.structure, structure);
    fmt::print("{} ({}) -> {}\n{}", options.diff, theirs.model, mine.model,
               text.empty() ? "same architecture\n" : text);
    return 0;
  }
  if (options.json) {
    fmt::print("{}\n", inspection::to_json(structure, mine.model));
  } else {
    fmt::print("{} for one image of {}x{}x{}\n\n{}", mine.model, mine.image[0], mine.image[1],
               mine.image[2], inspection::to_text(structure));
  }
  return 0;
}

std::function<int()> setup_inspect_structure(CommandLine& line) {
  auto options = std::make_shared<InspectStructureArguments>();
  options->source.add_to(line);
  line.flag("--time", options->time, "measure each node, forward and backward");
  line.option("--batch-size", options->batch_size, "images per run, with --time")
      .show_default()
      .range(1, 1 << 16);
  line.option("--graph", options->graph, "also draw it: FILE.svg or FILE.dot (Graphviz)");
  line.option(
          "--color-by", options->colour_by,
          fmt::format("what --graph colours show: {}", fmt::join(inspection::column_names(), ", ")))
      .show_default();
  line.option("--diff", options->diff,
              "a run or a model of the zoo: print what differs from it, instead of the table");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectStructure = {
    "structure", "a row per node and module: shapes, parameters, multiply-adds, bytes, times",
    "tapescope inspect structure --model resnet18 --image-size 224 --time --graph resnet18.svg",
    setup_inspect_structure};

}  // namespace tapescope::cli
