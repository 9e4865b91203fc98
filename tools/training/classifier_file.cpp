#include "tools/training/classifier_file.h"

#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/metadata_json.h"
#include "tools/training/onnx_start.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// Where the model file of a run lies in its checkpoints.
fs::path run_of(const SafetensorsFile& file) { return file.path().parent_path().parent_path(); }

ModelInfo info_of(const SafetensorsFile& file) {
  expect_known_format(file);
  const std::string path = printable(file.path().string());
  const auto pipeline = file.metadata().find("tapescope.pipeline");
  if (!file.metadata().contains("tapescope.model") || pipeline == file.metadata().end()) {
    throw usage_error(
        "'{}' does not say which model it is of (its metadata has no "
        "tapescope.model); give it to `train --weights` instead",
        path);
  }
  const ModelMetadata json(file, "tapescope.model");
  ModelInfo info;
  info.config.name = printable(json.text("name"));
  info.graph = json.text("graph", "");
  try {
    const std::int64_t smallest =
        info.graph.empty() ? describe_model(info.config.name).smallest_image : 1;
    info.config.image_size = json.whole("image_size", smallest, kLargestImage);
    // Runs of before have no Resize where their pictures had the model's size.
    info.pipeline =
        Pipeline::from_json(pipeline->second).sized(static_cast<int>(info.config.image_size));
  } catch (const Error& error) {
    const std::string what = error.what();
    throw usage_error("{}", what.find(path) != std::string::npos
                                ? what
                                : fmt::format("'{}' has damaged metadata: {}", path, what));
  }
  info.config.channels = json.whole("channels", 1, 3);
  info.config.width = json.number("width", 0, kLargestWidth);
  info.classes = json.classes(2);
  info.config.classes = static_cast<std::int64_t>(info.classes.size());
  info.loss = json.text("loss", info.loss);
  if (info.loss != "nll" && info.loss != "focal" && info.loss != "bce") {
    throw usage_error("'{}' has damaged metadata: loss is {}; it must be nll, focal or bce", path,
                      printable(info.loss));
  }
  info.validation_fraction = json.share("validation_fraction");
  info.test_fraction = json.share("test_fraction");
  info.seed = json.seed();
  info.exif = exif_from_name(json.text("exif", name_of(info.exif)));
  if (json.text("split", "") == "content") info.draw = Draw::content;
  if (json.text("on_bad_image", "") == "skip") info.on_bad_image = BadImage::skip;
  const fs::path record = run_of(file) / "split.tsv";
  if (std::error_code error; fs::exists(record, error)) info.split_record = record;
  return info;
}

}  // namespace

std::map<std::string, std::string> metadata_of(const ModelInfo& info) {
  nlohmann::json model = {{"name", info.config.name},
                          {"classes", info.classes},
                          {"channels", info.config.channels},
                          {"image_size", info.config.image_size},
                          {"width", info.config.width},
                          {"loss", info.loss},
                          {"validation_fraction", info.validation_fraction},
                          {"test_fraction", info.test_fraction},
                          {"seed", info.seed}};
  model["exif"] = name_of(info.exif);
  if (info.draw == Draw::content) model["split"] = "content";
  if (info.on_bad_image == BadImage::skip) model["on_bad_image"] = "skip";
  if (!info.graph.empty()) model["graph"] = info.graph;
  return {{"tapescope.model", json_text(model)}, {"tapescope.pipeline", info.pipeline.to_json()}};
}

DataOptions data_options_of(const ModelInfo& info, const std::string& split) {
  DataOptions options;
  options.validation_fraction = split == "test" ? 0 : info.validation_fraction;
  options.test_fraction = info.test_fraction;
  options.seed = info.seed;
  options.classes = info.classes;
  options.channels = static_cast<int>(info.config.channels);
  options.on_bad_image = info.on_bad_image;
  options.exif = info.exif;
  options.draw = info.draw;
  if (!info.split_record.empty()) {
    options.record = std::make_shared<SplitRecord>(SplitRecord::read(info.split_record));
  }
  return options;
}

LoadedModel load_model(const fs::path& run, const std::string& which, const LoadOptions& options) {
  SafetensorsFile file(checkpoint_path(run, which));
  return load_model(file, options);
}

LoadedModel load_model(SafetensorsFile& file, const LoadOptions& options) {
  LoadedModel loaded;
  loaded.info = info_of(file);
  loaded.path = file.path();
  const ModelConfig& config = loaded.info.config;
  build_for(file,
            fmt::format("a {} of width {} for {} classes and images of {}x{}", config.name,
                        config.width, config.classes, config.image_size, config.image_size),
            [&](std::shared_ptr<std::int64_t> room) {
              ModelConfig built = config;
              built.room = std::move(room);
              loaded.model = loaded.info.graph.empty()
                                 ? make_model(built)
                                 : net_of_run(graph_path(run_of(file)), loaded.info.graph, built);
            });
  load_exactly(*loaded.model, file, "a " + config.name, options);
  return loaded;
}

ModelInfo read_model_info(const fs::path& run, const std::string& which) {
  return info_of(SafetensorsFile(checkpoint_path(run, which)));
}

}  // namespace tapescope
