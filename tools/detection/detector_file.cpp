#include "tools/detection/detector_file.h"

#include <nlohmann/json.hpp>

#include "layers/models/zoo.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/checkpoint.h"
#include "tools/training/metadata_json.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
constexpr const char* kKey = "tapescope.detector";

DetectorConfig config_of(const SafetensorsFile& file) {
  expect_known_format(file);
  if (!file.metadata().contains(kKey)) {
    throw usage_error("'{}' is no detector; train one with --model centre-detector",
                      printable(file.path().string()));
  }
  const ModelMetadata json(file, kKey);
  DetectorConfig config;
  config.classes = json.classes(1);
  config.height = json.whole("height", 32, kLargestImage);
  config.width = json.whole("width", 32, kLargestImage);
  config.channel_scale = json.number("channel_scale", 0, kLargestWidth);
  config.backbone = json.text("backbone", "");
  config.form = form_of_backbone(config.backbone);
  config.seed = json.seed();
  config.exif = exif_from_name(json.text("exif", name_of(config.exif)));
  config.category_ids = json.ids("category_ids", config.classes.size());
  config.validation_fraction = json.share("validation_fraction");
  config.test_fraction = json.share("test_fraction");
  if (json.text("split", "") == "content") config.draw = Draw::content;
  if (json.text("on_bad_image", "") == "skip") config.on_bad_image = BadImage::skip;
  const fs::path record = file.path().parent_path().parent_path() / "split.tsv";
  if (std::error_code error; fs::exists(record, error)) config.split_record = record;
  return config;
}

}  // namespace

std::map<std::string, std::string> metadata_of(const DetectorConfig& config) {
  nlohmann::json json = {{"name", "centre-detector"},
                         {"classes", config.classes},
                         {"height", config.height},
                         {"width", config.width},
                         {"channel_scale", config.channel_scale},
                         {"seed", config.seed},
                         {"validation_fraction", config.validation_fraction},
                         {"test_fraction", config.test_fraction},
                         {"exif", name_of(config.exif)}};
  if (!config.backbone.empty()) json["backbone"] = config.backbone;
  if (config.draw == Draw::content) json["split"] = "content";
  if (config.on_bad_image == BadImage::skip) json["on_bad_image"] = "skip";
  for (const std::string& id : config.category_ids) {
    json["category_ids"].push_back(id.empty() ? nlohmann::json() : nlohmann::json::parse(id));
  }
  return {{kKey, json_text(json)}};
}

DetectorConfig read_detector_config(const fs::path& run, const std::string& which) {
  return config_of(SafetensorsFile(checkpoint_path(run, which)));
}

std::optional<DataOptions> division_of(const DetectorConfig& config, const std::string& split) {
  if (config.draw != Draw::content && config.split_record.empty()) return std::nullopt;
  DataOptions options;
  options.validation_fraction = split == "test" ? 0 : config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.seed = config.seed;
  if (!config.split_record.empty()) {
    options.record = std::make_shared<SplitRecord>(SplitRecord::read(config.split_record));
  }
  return options;
}

LoadedDetector load_detector(const fs::path& run, const std::string& which,
                             const LoadOptions& options) {
  SafetensorsFile file(checkpoint_path(run, which));
  return load_detector(file, options);
}

LoadedDetector load_detector(SafetensorsFile& file, const LoadOptions& options) {
  LoadedDetector loaded;
  loaded.path = file.path();
  DetectorConfig config = config_of(file);
  build_for(file,
            fmt::format("a centre-detector{} of width {} for {} classes and {}x{} pixels",
                        config.backbone.empty() ? "" : " on " + config.backbone,
                        config.channel_scale, config.classes.size(), config.width, config.height),
            [&](std::shared_ptr<std::int64_t> room) {
              config.room = std::move(room);
              loaded.model = std::make_unique<CentreDetector>(config);
            });
  load_exactly(*loaded.model, file, "a centre-detector", options);
  return loaded;
}

}  // namespace tapescope::detection
