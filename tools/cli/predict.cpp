#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/program/program.h"
#include "tools/cli/cli.h"
#include "tools/cli/picture_files.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/picture.h"

namespace tapescope::cli {

namespace {

struct Options {
  RunOptions run;
  std::vector<std::string> images;
  std::int64_t top = 5;
  bool json = false;
};

int run(const Options& options) {
  options.run.apply();
  const LoadedModel loaded = options.run.classifier();
  const std::vector<std::string> files = picture_files(options.images);
  const ModelConfig& config = loaded.info.config;
  const Backend backend = options.run.backend();
  move_to(backend.device, loaded.model->parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image =
      tape.input("image", DType::f32, {1, config.image_size, config.image_size, config.channels});
  const Var answer = softmax((*loaded.model)({{"image", image}}).at("logits"));
  Program program = tape.compile(std::vector{answer}, {}, {.keep_fixed = true});
  nlohmann::ordered_json images = nlohmann::ordered_json::array();
  BadPictures bad;
  for (const std::string& path : files) {
    Picture picture;
    if (bad.skipped([&] { picture = read_picture(path, loaded.info); })) {
      images.push_back({{"path", path}, {"error", bad.last()}});
      continue;
    }
    const Tensor probabilities = program.run({{"image", picture.input}})[0];
    const auto p = probabilities.values<float>();
    std::vector<std::size_t> order(p.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
    order.resize(std::min(order.size(), static_cast<std::size_t>(options.top)));
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    if (!options.json) fmt::print("{}\n", printable(path));
    for (std::size_t c : order) {
      const std::string& name = loaded.info.classes[c];
      if (!options.json) fmt::print("  {:>6.2f} %  {}\n", 100 * p[c], printable(name));
      top.push_back({{"class", name}, {"probability", p[c]}});
    }
    images.push_back({{"path", path}, {"top", top}});
  }
  if (options.json) fmt::print("{}\n", json_text(nlohmann::ordered_json{{"images", images}}, 2));
  return bad.status(files.size());
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option("images", options->images, "picture files, and folders of them")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--top", options->top, "classes to list")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kPredict = {"predict", "the most probable classes of pictures",
                             "tapescope predict --run runs/flowers rose.jpg --top 3", setup};

}  // namespace tapescope::cli
