#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/program/program.h"
#include "tools/cli/cli.h"
#include "tools/cli/pictures.h"
#include "tools/data/idx.h"

namespace tapescope::cli {

namespace {

// "train-images-idx3-ubyte.gz[12]": picture 12 of an IDX file, as evaluations name it.
struct IdxEntry {
  std::string file;
  std::int64_t index = -1;
};
IdxEntry idx_entry(const std::string& path) {
  const std::size_t open = path.rfind('[');
  if (open == std::string::npos || !path.ends_with(']')) return {};
  const std::string digits = path.substr(open + 1, path.size() - open - 2);
  if (digits.empty() || digits.size() > 9 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return {};
  }
  return {path.substr(0, open), std::stoll(digits)};
}

Image read_idx_entry(const IdxEntry& entry) {
  static IdxArray array;  // pictures of one file usually come together
  static std::string read;
  if (read != entry.file) {
    array = read_idx(entry.file);
    read = entry.file;
  }
  if (array.extents.size() < 3 || entry.index >= array.extents[0]) {
    throw usage_error("'{}' has no picture {}; it holds {}", entry.file, entry.index,
                      array.extents.size() < 3 ? 0 : array.extents[0]);
  }
  const std::int64_t channels = array.extents.size() > 3 ? array.extents[3] : 1;
  Image image(static_cast<int>(array.extents[1]), static_cast<int>(array.extents[2]),
              static_cast<int>(channels));
  const auto size = static_cast<std::int64_t>(image.pixels.size());
  std::copy_n(array.bytes.begin() + entry.index * size, size, image.pixels.begin());
  return image;
}

}  // namespace

Picture read_picture(const std::string& path, const ModelInfo& info) {
  Picture picture;
  picture.path = path;
  const IdxEntry entry = idx_entry(path);
  if (entry.index >= 0 && !std::filesystem::exists(path)) {
    picture.image = read_idx_entry(entry);
    const std::string file = std::filesystem::path(entry.file).filename().string();
    picture.stem = fmt::format("{}-{}", file.substr(0, file.find('.')), entry.index);
  } else {
    picture.image = read_image(path, static_cast<int>(info.config.channels));
    picture.stem = std::filesystem::path(path).stem().string();
  }
  if (picture.image.channels != info.config.channels) {
    throw usage_error("'{}' has {} channels, but this model takes {}", path, picture.image.channels,
                      info.config.channels);
  }
  const Shape shape =
      info.pipeline.output_shape(picture.image.height, picture.image.width, picture.image.channels);
  const std::int64_t side = info.config.image_size;
  if (shape[0] != side || shape[1] != side) {
    throw usage_error(
        "'{}' is {}x{}, but this model takes {}x{} and its pipeline does not resize; "
        "resize the picture first",
        path, picture.image.height, picture.image.width, side, side);
  }
  picture.input = Tensor({DType::f32, shape.with_leading(1)});
  info.pipeline.apply(view_of(picture.image), {}, picture.input.values<float>().data());
  return picture;
}

namespace {

struct Options {
  RunOptions run;
  std::vector<std::string> images;
  std::int64_t top = 5;
  bool json = false;
};

int run(const Options& options) {
  options.run.apply();
  const LoadedModel loaded = load_model(options.run.run, options.run.checkpoint);
  const ModelConfig& config = loaded.info.config;
  const Backend backend = options.run.backend();
  move_to(backend.device, loaded.model->parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image =
      tape.input("image", DType::f32, {1, config.image_size, config.image_size, config.channels});
  Program program = tape.compile({softmax((*loaded.model)(tape, {{"image", image}}).at("logits"))});
  nlohmann::ordered_json images = nlohmann::ordered_json::array();
  for (const std::string& path : options.images) {
    const Picture picture = read_picture(path, loaded.info);
    const Tensor probabilities = program.run({{"image", picture.input}})[0];
    const auto p = probabilities.values<float>();
    std::vector<std::size_t> order(p.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
    order.resize(std::min(order.size(), static_cast<std::size_t>(options.top)));
    nlohmann::ordered_json top = nlohmann::ordered_json::array();
    if (!options.json) fmt::print("{}\n", path);
    for (std::size_t c : order) {
      if (!options.json) fmt::print("  {:>6.2f} %  {}\n", 100 * p[c], loaded.info.classes[c]);
      top.push_back({{"class", loaded.info.classes[c]}, {"probability", p[c]}});
    }
    images.push_back({{"path", path}, {"top", top}});
  }
  if (options.json) fmt::print("{}\n", nlohmann::ordered_json{{"images", images}}.dump(2));
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option("images", options->images, "picture files")
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
