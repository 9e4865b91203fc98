#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/hash.h"
#include "tools/cli/cli.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/files/json_text.h"
#include "tools/monitoring/progress_line.h"
#include "tools/report/png.h"
#include "tools/synthesis/scene.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;

struct SynthesizeArguments {
  std::string out, rule = "shape";
  int size = 64, objects = 3, train = 1000, test = 50;
  std::uint64_t seed = 0;
  bool json = false;
};

// Pictures, masks and twins of one split; returns its COCO annotations.
nlohmann::ordered_json write_split(const SynthesizeArguments& options, synthesis::Rule rule,
                                   const std::string& split, int a_class) {
  using nlohmann::ordered_json;
  ordered_json images = ordered_json::array(), annotations = ordered_json::array();
  ordered_json categories = ordered_json::array();
  const std::vector<std::string> kinds = {"circle", "square", "triangle"};
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    categories.push_back({{"id", k + 1}, {"name", kinds[k]}});
  }
  const std::vector<std::string> classes = synthesis::class_names(rule);
  monitoring::ProgressBar progress("drawing " + split, a_class * std::ssize(classes));
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const fs::path place = fs::path(split) / classes[c];
    for (const char* what : {"images", "masks", "twins"}) {
      make_output_folder(fs::path(options.out) / what / place);
    }
    for (int i = 0; i < a_class; ++i) {
      const std::uint64_t seed = mix(mix(options.seed, stable_hash(split)),
                                     c * 1000003ull + static_cast<std::uint64_t>(i));
      const synthesis::Scene scene =
          synthesis::make_scene(rule, static_cast<int>(c), options.size, options.objects, seed);
      const fs::path file = place / fmt::format("{:04}.png", i);
      write_png(fs::path(options.out) / "images" / file, synthesis::draw(scene));
      write_png(fs::path(options.out) / "masks" / file,
                synthesis::mask_of(scene.objects[0], options.size));
      const int other = static_cast<int>((c + 1) % classes.size());
      write_png(fs::path(options.out) / "twins" / file, synthesis::draw(scene.twin(other)));
      images.push_back({{"id", images.size() + 1},
                        {"file_name", file.generic_string()},
                        {"width", options.size},
                        {"height", options.size}});
      for (std::size_t k = 0; k < scene.objects.size(); ++k) {
        const Image mask = synthesis::mask_of(scene.objects[k], options.size);
        const synthesis::Box box = synthesis::box_of(mask);
        const auto area = std::count(mask.pixels.begin(), mask.pixels.end(), 255);
        annotations.push_back(
            {{"id", annotations.size() + 1},
             {"image_id", images.size()},
             {"category_id", static_cast<int>(scene.objects[k].kind) + 1},
             {"bbox", {box.left, box.top, box.right - box.left, box.bottom - box.top}},
             {"area", area},
             {"iscrowd", 0},
             {"cause", k == 0}});
      }
      progress.done(std::ssize(images));
    }
  }
  return {{"images", images}, {"annotations", annotations}, {"categories", categories}};
}

int run(const SynthesizeArguments& options) {
  const synthesis::Rule rule =
      options.rule == "shape" ? synthesis::Rule::shape : synthesis::Rule::colour;
  const fs::path out = options.out;
  if (fs::exists(out) && !fs::is_empty(out)) {
    throw usage_error("--out '{}' is there and not empty; choose a new folder", options.out);
  }
  make_output_folder(out);
  for (const auto& [split, count] : {std::pair{"train", options.train}, {"test", options.test}}) {
    write_atomically(out / fmt::format("annotations-{}.json", split),
                     write_split(options, rule, split, count).dump() + "\n");
  }
  const nlohmann::ordered_json summary = {{"rule", synthesis::describe(rule)},
                                          {"classes", synthesis::class_names(rule)},
                                          {"size", options.size},
                                          {"objects", options.objects},
                                          {"train", options.train},
                                          {"test", options.test},
                                          {"seed", options.seed}};
  write_atomically(out / "rule.json", json_text(summary, 2) + "\n");
  if (options.json) {
    fmt::print("{}\n", json_text(summary, 2));
  } else {
    fmt::print("{}\n{} pictures to train on and {} to test, masks and twins: {}\n",
               synthesis::describe(rule), 3 * options.train, 3 * options.test, options.out);
    fmt::print("next: tapescope train --data {} --out RUN\n", (out / "images").string());
  }
  return 0;
}

std::function<int()> setup_synthesize(CommandLine& line) {
  auto options = std::make_shared<SynthesizeArguments>();
  line.option("--out", options->out, "folder to write; must be new or empty").required();
  line.option("--rule", options->rule,
              "shape: the class is the red object's shape; colour: the circle's colour")
      .show_default()
      .one_of({"shape", "colour"});
  line.option("--size", options->size, "height and width in pixels").show_default().range(24, 2048);
  line.option("--objects", options->objects, "shapes per picture, the cause among them")
      .show_default()
      .range(1, 8);
  line.option("--train", options->train, "pictures per class to train on")
      .show_default()
      .range(1, 9999);
  line.option("--test", options->test, "pictures per class to test").show_default().range(1, 9999);
  line.option("--seed", options->seed, "of everything").show_default();
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kSynthesize = {"synthesize",
                                "pictures whose class has a known cause, with masks and twins",
                                "tapescope synthesize --out shapes", setup_synthesize};

}  // namespace tapescope::cli
