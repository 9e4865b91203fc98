#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "tools/cli/inspect.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/files/json_text.h"
#include "tools/inspection/activations.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"
#include "tools/tasks/kit.h"
#include "tools/training/trainer.h"

namespace tapescope::cli {
namespace {

struct InspectActivationsArguments {
  RunOptions run;
  std::string data, split = "test", swap, out, layer;
  std::int64_t limit = 256, batch_size = 16, maps = 2;
  bool units = false, json = false;
};

// A model with every activation function of one kind replaced by another: same parameters.
class Swapped final : public Model {
 public:
  Swapped(const Model& inner, std::string from, std::string to)
      : inner_(inner), from_(std::move(from)), to_(std::move(to)) {}
  NamedVars operator()(const NamedVars& inputs) const override {
    NamedVars named = inner_(inputs);
    std::vector<Var> outputs;
    for (const auto& [name, output] : named) outputs.push_back(output);
    outputs = inspection::swapped(outputs, from_, to_);
    std::size_t i = 0;
    for (auto& [name, output] : named) output = outputs[i++];
    return named;
  }

 private:
  const Model& inner_;
  std::string from_, to_;
};

// "AP" as "ap": a key.
std::string lower(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string file_name(std::string path) {
  std::replace(path.begin(), path.end(), '/', '.');
  return path;
}

// Sheets of the first pictures' feature maps, of the pictures that each channel of --layer answers
// to most, and a curve per activation function.
void draw(const InspectActivationsArguments& options, const Model& model, const Backend& backend,
          const tasks::RunData& data, const std::vector<inspection::ActivationRow>& rows) {
  const std::filesystem::path folder = options.out;
  make_output_folder(folder);
  for (const inspection::ActivationRow& row : rows) {
    write_atomically(folder / ("curve-" + file_name(row.path) + ".svg"),
                     inspection::curve_svg(row));
  }
  for (std::int64_t i = 0; i < std::min(options.maps, data.samples->size()); ++i) {
    const Tensor image = tasks::inputs_of(*data.samples, std::span(&i, 1));
    for (const inspection::ActivationRow& row : rows) {
      if (row.shape.rank() != 3) continue;
      std::vector<SheetCell> cells;
      for (Image& map :
           inspection::feature_maps(tasks::record_of(model), row.path, image, backend)) {
        cells.push_back({std::move(map), fmt::format("{}", cells.size())});
      }
      write_png(folder / fmt::format("maps-{}-{}.png", i, file_name(row.path)),
                contact_sheet(cells, {.cell_size = 64, .title = row.path + " of " + data.name(i)}));
    }
  }
  const inspection::ActivationRow* chosen = nullptr;
  for (const inspection::ActivationRow& row : rows) {
    if (options.layer.empty() ? row.shape.rank() == 3 : row.path.starts_with(options.layer)) {
      chosen = &row;
    }
  }
  if (chosen == nullptr && !options.layer.empty()) {
    std::string known;
    for (const inspection::ActivationRow& row : rows) {
      known += (known.empty() ? "" : ", ") + row.path;
    }
    throw usage_error("--layer '{}' names no activation function; they are {}", options.layer,
                      known);
  }
  if (chosen == nullptr) return;
  std::vector<SheetCell> cells;
  int columns = 0;
  for (std::size_t c = 0; c < std::min<std::size_t>(chosen->units.size(), 16); ++c) {
    columns = static_cast<int>(chosen->units[c].top.size());
    for (const inspection::TopImage& top : chosen->units[c].top) {
      cells.push_back({data.picture(top.index), fmt::format("unit {}: {:.3g}", c, top.value)});
    }
  }
  if (!cells.empty()) {
    write_png(folder / ("top-" + file_name(chosen->path) + ".png"),
              contact_sheet(cells, {.columns = columns, .cell_size = 96, .title = chosen->path}));
  }
}

int run(const InspectActivationsArguments& options) {
  if (!options.out.empty()) {
    InputFiles inputs = tasks::files_of(options.run);
    inputs.add(options.data);
    inputs.expect_apart("--out", options.out, [](const std::string& name) {
      return name.starts_with("curve-") || name.starts_with("maps-") || name.starts_with("top-");
    });
    expect_writable_folder("--out", options.out);
  }
  options.run.apply();
  const auto opened = tasks::open_run(options.run);
  const Model& model = opened->model();
  const tasks::RunData data = opened->data({options.data, options.split, options.limit, {}});
  const std::int64_t count = data.samples->size();
  const Backend backend = options.run.backend();
  move_to(backend.device, model.parameters());

  if (!options.swap.empty()) {
    const std::size_t equals = options.swap.find('=');
    if (equals == std::string::npos) {
      throw usage_error("--swap '{}' must be FROM=TO, for instance relu=gelu", options.swap);
    }
    const auto score = [&](const Model& m) {
      return evaluate(m, *data.task, data.samples, options.batch_size, 2, backend);
    };
    Swapped other(model, options.swap.substr(0, equals), options.swap.substr(equals + 1));
    const std::unique_ptr<Metrics> before = score(model), after = score(other);
    const std::string name(data.task->score_name());
    if (options.json) {
      const nlohmann::ordered_json json = {{"swap", options.swap},
                                           {"images", count},
                                           {"loss", {before->loss(), after->loss()}},
                                           {lower(name), {before->score(), after->score()}}};
      fmt::print("{}\n", json_text(json, 2));
    } else {
      fmt::print(
          "{} on {} images, without training anew:\n"
          "  {:<8}  {:.4f} -> {:.4f}\n  {:<8}  {:.2f} % -> {:.2f} %\n",
          options.swap, count, "loss", before->loss(), after->loss(), name, 100 * before->score(),
          100 * after->score());
    }
    return 0;
  }

  inspection::ActivationProbe probe(tasks::record_of(model), opened->preprocess().image,
                                    {.backend = backend, .batch_size = options.batch_size});
  Loader loader(data.samples, {.batch_size = options.batch_size});
  loader.start(0);
  for (Batch batch; loader.next(batch);) probe.add(batch["image"], batch.indices);
  const std::vector<inspection::ActivationRow> rows = probe.rows();
  if (!options.out.empty()) draw(options, model, backend, data, rows);
  if (options.json) {
    fmt::print("{}\n", inspection::to_json(rows, options.units));
  } else {
    fmt::print("{} images of {}\n\n{}", count, options.split, inspection::to_text(rows));
  }
  return 0;
}

std::function<int()> setup_inspect_activations(CommandLine& line) {
  auto options = std::make_shared<InspectActivationsArguments>();
  options->run.add_with_model(line);
  options->run.add_allow_outside(line);
  line.option("--data", options->data, "folder with the split").required();
  line.option("--split", options->split, "train, validation or test").show_default();
  line.option("--limit", options->limit, "images, evenly over the set; 0: all")
      .show_default()
      .not_negative();
  line.option("--batch-size", options->batch_size).show_default().range(1, 1 << 16);
  line.option("--swap", options->swap,
              "FROM=TO, e.g. relu=gelu: loss and accuracy with the one function for the other");
  line.option("--out", options->out,
              "folder: curves, feature maps of the first pictures, top images per channel");
  line.option("--maps", options->maps, "pictures whose feature maps are drawn")
      .show_default()
      .not_negative();
  line.option("--layer", options->layer, "whose channels' top images are drawn; default: last");
  line.flag("--units", options->units, "with --json: a row per unit, with its top images");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectActivations = {
    "activations", "what the activation functions do on a data set: dead units, saturation, ranks",
    "tapescope inspect activations --run runs/flowers --data flowers --out activations",
    setup_inspect_activations};

}  // namespace tapescope::cli
