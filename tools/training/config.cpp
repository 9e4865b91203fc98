#include "tools/training/config.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "engine/device.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/training/kernel_file.h"
#include "tools/training/memory_limit.h"
#include "tools/training/onnx_start.h"
#include "tools/training/preprocessing.h"

namespace tapescope {
namespace {

std::string toml(const std::string& value) {
  std::string text = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}
std::string toml(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}
std::string toml(bool value) { return value ? "true" : "false"; }
std::string toml(std::int64_t value) { return std::to_string(value); }
std::string toml(std::uint64_t value) { return std::to_string(value); }

void require(bool ok, std::string_view option, const std::string& value, std::string_view rule) {
  if (!ok) throw usage_error("--{} is {}; it must be {}", option, value, rule);
}

}  // namespace

Precision precision_from_name(const std::string& name) {
  for (const Precision precision : {Precision(DType::f32), kTf32, Precision(DType::bf16)}) {
    if (name == name_of(precision)) return precision;
  }
  throw usage_error("--precision is '{}'; it must be f32, tf32 or bf16", printable(name));
}

void check_options(const TrainConfig& c) {
  require(c.epochs >= 1, "epochs", std::to_string(c.epochs), "at least 1");
  require(c.batch_size >= 1, "batch-size", std::to_string(c.batch_size), "at least 1");
  require(c.image_size >= 0 && c.image_size <= kLargestImage, "image-size",
          std::to_string(c.image_size), fmt::format("from 1 to {}, or 0", kLargestImage));
  require(c.width > 0 && c.width <= kLargestWidth, "width", toml(c.width),
          fmt::format("above 0 and at most {}", kLargestWidth));
  require(c.lr >= 0, "lr", toml(c.lr), "positive, or 0 to have it chosen");
  require(c.log_every >= 1, "log-every", std::to_string(c.log_every), "at least 1");
  require(c.statistics_every >= 0, "statistics-every", std::to_string(c.statistics_every),
          "0 or more");
  require(c.checkpoint_every >= 0, "checkpoint-every", std::to_string(c.checkpoint_every),
          "0 or more");
  require(c.keep_checkpoints >= 0, "keep-checkpoints", std::to_string(c.keep_checkpoints),
          "0 or more");
  require(c.loader_threads >= 0 && c.loader_threads <= 1024, "loader-threads",
          std::to_string(c.loader_threads), "from 0 to 1024");
  require(c.cache == "none" || c.cache == "memory" || c.cache == "disk", "cache", c.cache,
          "none, memory or disk");
  require(c.on_bad_image == "fail" || c.on_bad_image == "skip", "on-bad-image", c.on_bad_image,
          "fail or skip");
  require(c.backbone.empty() || c.model == "centre-detector", "backbone", c.backbone,
          "left out unless --model is centre-detector");
  require(c.unfreeze_after >= 0, "unfreeze-after", std::to_string(c.unfreeze_after), "0 or more");
  require(c.unfreeze_factor > 0 && c.unfreeze_factor <= 1, "unfreeze-factor",
          toml(c.unfreeze_factor), "above 0 and at most 1");
  if (c.unfreeze_after > 0 && (c.train_only.empty() || c.unfreeze_after >= c.epochs)) {
    throw usage_error(
        "--unfreeze-after {} needs {}", c.unfreeze_after,
        c.train_only.empty()
            ? "--train-only, which says what is frozen until then"
            : fmt::format("more --epochs than the {} there are: the ones after it train all",
                          c.epochs));
  }
  precision_from_name(c.precision);
  memory_limit_from(c.memory_limit);
}

namespace {

// The sizes of the training pictures, all of them.
struct Sizes {
  std::int64_t pictures = 0, small = 0;
  std::int64_t usual_count = 0;           // of the size that most have
  int height = 0, width = 0;              // that size
  int other_height = 0, other_width = 0;  // one of another size, where there is one

  bool mixed() const { return usual_count < pictures; }
  bool mostly_small() const { return 2 * small > pictures; }
  // Most are squares of a size that models see as it is.
  bool own_size() const { return height == width && height <= 96 && 2 * usual_count > pictures; }
};

Sizes sizes_of(const Dataset& train) {
  Sizes sizes;
  std::map<std::pair<int, int>, std::int64_t> counts;
  for (std::int64_t i = 0; i < train.size(); ++i) {
    const ImageSize size = train.image_size(i);
    ++counts[{size.height, size.width}];
    ++sizes.pictures;
    sizes.small += size.height <= 96 && size.width <= 96 ? 1 : 0;
  }
  for (const auto& [size, count] : counts) {
    if (count <= sizes.usual_count) continue;
    sizes.usual_count = count;
    std::tie(sizes.height, sizes.width) = size;
  }
  for (const auto& [size, count] : counts) {
    if (size != std::pair(sizes.height, sizes.width)) {
      std::tie(sizes.other_height, sizes.other_width) = size;
    }
  }
  return sizes;
}

// Mean and standard deviation of each channel over up to 1000 training pictures, evenly spaced.
// Each picture counts alike, however large it is.
Normalize statistics(const Dataset& train) {
  const int channels = train.channels();
  std::vector<double> sum(static_cast<std::size_t>(channels)), squares(sum);
  double count = 0;
  double first = 0;  // pixels of the first picture: weights are relative to it
  const std::int64_t stride = std::max<std::int64_t>(1, train.size() / 1000);
  for (std::int64_t i = 0; i < train.size(); i += stride) {
    const ImageView view = train.image(i);
    const std::size_t pixels =
        static_cast<std::size_t>(view.height) * static_cast<std::size_t>(view.width);
    if (first == 0) first = static_cast<double>(pixels);
    const double weight = first / static_cast<double>(pixels);
    for (std::size_t p = 0; p < pixels; ++p) {
      for (std::size_t c = 0; c < sum.size(); ++c) {
        const double value = view.pixels[p * sum.size() + c] / 255.0;
        sum[c] += weight * value;
        squares[c] += weight * value * value;
      }
    }
    count += first;
  }
  Normalize normalize;
  for (std::size_t c = 0; c < sum.size(); ++c) {
    const double mean = sum[c] / count;
    const double variance = std::max(squares[c] / count - mean * mean, 1e-4);
    // Rounded: the numbers are read by people.
    normalize.mean.push_back(std::round(mean * 1e4) / 1e4);
    normalize.std.push_back(std::round(std::sqrt(variance) * 1e4) / 1e4);
  }
  return normalize;
}

// Grey digits and the like need little; photos a net with more layers.
std::string chosen_model(const DataSplits& data, const Sizes& sizes) {
  const bool plain = data.kind == "idx" || data.channels == 1;
  return plain && sizes.height <= 32 && sizes.width <= 32 ? "lenet" : "resnet20";
}

std::int64_t chosen_size(const TrainConfig& c, const Sizes& sizes, bool model_was_chosen) {
  if (sizes.own_size()) return sizes.height;
  constexpr std::int64_t kPhoto = 64;  // what resnet20 needs of a photo to tell more than colours
  const bool photo = model_was_chosen && c.model == "resnet20";
  return photo ? kPhoto : describe_model(c.model).default_image_size;
}

std::string chosen_augmentation(const DataSplits& data, bool small) {
  if (data.kind == "idx") return "none";  // digits and clothes do not survive a flip
  return small ? "crop-flip" : "resized-crop";
}

// Learning rates that trained well at a batch of 64: of a head on features that stay, of a net that
// has learnt already (an ONNX file's, mostly without batch norms, or --weights), of one from its
// first values.
double base_rate(const TrainConfig& c) {
  const bool adamw = c.optimizer == "adamw";
  if (!c.train_only.empty()) return adamw ? 0.01 : 0.03;
  if (onnx::names_onnx(c.model)) return adamw ? 2e-4 : 0.01;
  if (!c.weights.empty()) return adamw ? 4e-4 : 0.02;
  if (adamw) return c.model == "seednet" ? 1e-3 : 2e-3;
  return c.model == "lenet" || c.model == "mlp" ? 0.05 : c.model == "seednet" ? 0.02 : 0.1;
}

// They grow with the square root of the batch that is really taken.
double chosen_rate(const TrainConfig& c, std::int64_t batch) {
  const double scaled = base_rate(c) * std::sqrt(static_cast<double>(batch) / 64.0);
  return std::round(scaled * 1e5) / 1e5;
}

}  // namespace

std::string batch_sentence(const TrainConfig& c, std::int64_t pictures) {
  return fmt::format(
      "--batch-size {}: there are {} training pictures, which make one batch of {}{}", c.batch_size,
      pictures, pictures, c.lr == 0 ? "; the learning rate is chosen for that" : "");
}

bool may_change_on_resume(std::string_view option) {
  static const std::set<std::string_view> free = {"out",
                                                  "threads",
                                                  "loader-threads",
                                                  "memory-limit",
                                                  "cache",
                                                  "log-every",
                                                  "checkpoint-every",
                                                  "keep-checkpoints",
                                                  "statistics-every",
                                                  "tensorboard",
                                                  "watch-images",
                                                  "watch-methods",
                                                  "data",
                                                  "allow-outside",
                                                  "weights",
                                                  "ranks",
                                                  "rank-timeout",
                                                  "transport"};
  return free.contains(option);
}

std::map<std::string, std::string> option_values(const TrainConfig& config) {
  std::map<std::string, std::string> values;
  for_each_option(config, [&](std::string_view name, const auto& value, std::string_view) {
    values[std::string(name)] = toml(value);
  });
  return values;
}

void write_config(const TrainConfig& config, const std::string& path) {
  std::string file;
  for_each_option(config, [&](std::string_view name, const auto& value, std::string_view help) {
    const std::string text = toml(value);
    if (text != "\"\"") file += fmt::format("# {}\n{} = {}\n", help, name, text);
  });
  write_atomically(path, file);
}

namespace {

// What `--preprocess auto` is: as the weights' file says, of pictures with as many channels.
std::string chosen_preprocessing(const TrainConfig& c, const DataSplits& data,
                                 const OnnxStart* start) {
  if (start != nullptr && start->preprocess.empty()) {
    throw usage_error(
        "'{}' does not say how its pictures are normalised: give --preprocess imagenet "
        "(torchvision's, and most of timm's), data (the data's own mean and deviation) or "
        "transforms as JSON",
        printable(c.model));
  }
  if (start != nullptr) return start->preprocess;
  if (c.weights.empty()) return "data";
  const std::string wanted = preprocessing_of(*open_weights(c.weights));
  if (wanted.empty()) return "data";
  const std::size_t channels = normalization_of(Pipeline::from_json(wanted)).mean.size();
  return channels == 1 || channels == static_cast<std::size_t>(data.channels) ? wanted : "data";
}

// The steps before ToTensor.
std::vector<Transform> geometry_of(const Pipeline& pipeline) {
  std::vector<Transform> steps;
  for (const Transform& step : pipeline.transforms()) {
    if (std::holds_alternative<ToTensor>(step)) break;
    steps.push_back(step);
  }
  return steps;
}

// How pictures become inputs, with augmentation and without.
void add_pipelines(const TrainConfig& c, const DataSplits& data, ResolvedTraining& r) {
  const int size = static_cast<int>(c.image_size);
  // Always there: it costs nothing where the size fits, and pictures of any other size may come.
  std::vector<Transform> train, test = {Resize{.height = size, .width = size}};
  Normalize normalize;
  if (c.preprocess != "data") {
    const Pipeline given = rescaled(preprocessing_from(c.preprocess), size);
    normalize = normalization_of(given);
    test = geometry_of(given);
  } else {
    normalize = c.model == "seednet" ? Normalize{{0.475}, {0.224}} : statistics(*data.train);
  }
  if (c.augment == "none" || c.augment == "flip") {
    train = test;
  } else if (c.augment != "resized-crop") {
    train.push_back(Resize{.height = size, .width = size});
  }
  const int padding = std::max(1, size / 8);
  if (c.augment == "resized-crop") {
    train.push_back(RandomResizedCrop{.height = size, .width = size, .smallest_area = 0.35});
  } else if (c.augment == "crop" || c.augment == "crop-flip") {
    train.push_back(RandomCrop{size, size, padding});
  } else if (c.augment == "shift") {
    train.push_back(RandomCrop{size, size, std::max(1, size / 14)});
  } else if (c.augment != "none" && c.augment != "flip") {
    throw usage_error(
        "--augment is '{}'; it must be auto, none, flip, shift, crop, crop-flip or "
        "resized-crop",
        c.augment);
  }
  if (c.augment == "flip" || c.augment == "crop-flip" || c.augment == "resized-crop") {
    train.push_back(RandomHorizontalFlip{});
  }
  for (auto* pipeline : {&train, &test}) {
    pipeline->push_back(ToTensor{});
    pipeline->push_back(normalize);
  }
  r.train_pipeline = Pipeline(train);
  r.test_pipeline = Pipeline(test);
}

}  // namespace

void choose_chunks(TrainConfig& c, Device device, int ranks) {
  constexpr std::int64_t kUsual = 4;  // as many processes as that may go on with it
  constexpr std::int64_t kMost = 1024;
  if (c.chunks == 0) {
    const std::int64_t wanted = device.kind == DeviceKind::cpu ? kUsual : 1;
    c.chunks = std::max<std::int64_t>(wanted, ranks);
  }
  require(
      c.chunks >= 1 && c.chunks <= kMost && std::has_single_bit(static_cast<unsigned>(c.chunks)),
      "chunks", std::to_string(c.chunks), "1, 2, 4 and so on, or 0 to have it chosen");
  if (c.chunks % ranks == 0) return;
  throw usage_error(
      "{} ranks cannot share a batch that is cut into {} chunks; 1, 2, 4 and so on up to {} ranks "
      "can, and a new training with more --chunks could use more",
      ranks, c.chunks, c.chunks);
}

TrainerOptions trainer_options(const TrainConfig& c, Device device) {
  TrainerOptions t;
  t.epochs = c.epochs;
  t.batch_size = c.batch_size;
  t.seed = c.seed;
  t.loader_threads = static_cast<int>(c.loader_threads);
  t.log_every = c.log_every;
  t.statistics_every = c.statistics_every;
  t.checkpoint_every = c.checkpoint_every;
  t.device = device;
  t.kernels = parse_kernels(c.kernel).by_name;
  t.precision = precision_from_name(c.precision);
  t.chunks = c.chunks;
  t.memory_limit = memory_limit_from(c.memory_limit);
  t.optimizer.name = c.optimizer;
  t.optimizer.weight_decay = c.weight_decay;
  t.optimizer.clip_gradient = c.clip_gradient;
  t.schedule.name = c.schedule;
  t.schedule.peak = c.lr;
  t.unfreeze_after = c.unfreeze_after;
  t.unfreeze_factor = c.unfreeze_factor;
  return t;
}

namespace {

void check_start(const TrainConfig& c, const OnnxStart& start) {
  if (c.width != 1) {
    throw usage_error("--width {} is of the nets that are made here; '{}' is as it is", c.width,
                      printable(c.model));
  }
  if (!start.any_size && c.image_size != 0 && c.image_size != start.image_size) {
    throw usage_error("'{}' takes pictures of {}x{}, not of --image-size {}", printable(c.model),
                      start.image_size, start.image_size, c.image_size);
  }
}

}  // namespace

ResolvedTraining resolve(TrainConfig& c, const DataSplits& data, const OnnxStart* start) {
  check_options(c);
  if (start != nullptr) check_start(c, *start);
  const Sizes sizes = sizes_of(*data.train);
  ResolvedTraining r;
  const bool choose_model = c.model == "auto";
  if (choose_model) c.model = chosen_model(data, sizes);
  if (c.preprocess == "auto") {
    c.preprocess = chosen_preprocessing(c, data, start);
    if (c.preprocess != "data") {
      r.notices.push_back(
          fmt::format("--preprocess auto: pictures are made ready as the {} says: {}",
                      start != nullptr ? "net's file" : "weights' file", c.preprocess));
    }
  }
  if (c.image_size == 0 && start != nullptr) c.image_size = start->image_size;
  if (c.image_size == 0 && c.preprocess != "data") {
    c.image_size = side_of(preprocessing_from(c.preprocess));
  }
  if (c.image_size == 0) c.image_size = chosen_size(c, sizes, choose_model);
  if (choose_model) {
    r.notices.push_back(
        fmt::format("--model auto: {} at {}x{}{}", c.model, c.image_size, c.image_size,
                    c.model == "resnet20" ? "; resnet18 or a larger --image-size sees more, and "
                                            "--weights begins with what was learnt elsewhere"
                                          : ""));
  }
  const int size = static_cast<int>(c.image_size);
  if (sizes.mixed() && sizes.height == size && sizes.width == size) {
    r.notices.push_back(
        fmt::format("{} of {} training pictures are not {}x{} (one is {}x{}); they are resized",
                    sizes.pictures - sizes.usual_count, sizes.pictures, size, size,
                    sizes.other_width, sizes.other_height));
  }
  if (c.augment == "auto" && !c.train_only.empty() && c.unfreeze_after == 0) {
    c.augment = "none";
    r.notices.push_back(
        "--augment auto: none with --train-only, so that the frozen part sees each "
        "picture once");
  }
  if (c.augment == "auto") c.augment = chosen_augmentation(data, sizes.mostly_small());
  const std::int64_t batch = std::min(c.batch_size, data.train->size());
  if (batch < c.batch_size) r.notices.push_back(batch_sentence(c, batch));
  if (c.lr == 0) c.lr = chosen_rate(c, batch);
  if (c.weight_decay < 0) c.weight_decay = c.optimizer == "adamw" ? 0.01 : 5e-4;

  r.model = {c.model,       static_cast<std::int64_t>(data.classes.size()),
             data.channels, c.image_size,
             c.width,       c.seed};
  r.loss = {c.loss, c.label_smoothing, 2};
  add_pipelines(c, data, r);
  const Device device = device_from_name(c.device);
  c.device = name_of(device.kind);
  r.trainer = trainer_options(c, device);
  r.trainer.optimizer.sgd.nesterov = true;
  return r;
}

}  // namespace tapescope
