#include "tools/detection/detector_file.h"

#include <nlohmann/json.hpp>

#include "tools/training/checkpoint.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
constexpr const char* kKey = "tapescope.detector";

}  // namespace

std::map<std::string, std::string> metadata_of(const DetectorConfig& config) {
  return {{kKey, nlohmann::json{{"name", "centre-detector"},
                                {"classes", config.classes},
                                {"height", config.height},
                                {"width", config.width},
                                {"channel_scale", config.channel_scale},
                                {"seed", config.seed},
                                {"exif", name_of(config.exif)}}
                     .dump()}};
}

bool is_detector(const fs::path& run, const std::string& which) {
  return read_safetensors(checkpoint_path(run, which)).metadata.contains(kKey);
}

LoadedDetector load_detector(const fs::path& run, const std::string& which) {
  LoadedDetector loaded;
  loaded.path = checkpoint_path(run, which);
  const Safetensors file = read_safetensors(loaded.path);
  const auto it = file.metadata.find(kKey);
  if (it == file.metadata.end()) {
    throw usage_error("'{}' is no detector; train one with --model centre-detector",
                      loaded.path.string());
  }
  DetectorConfig config;
  try {
    const auto json = nlohmann::json::parse(it->second);
    config.classes = json.at("classes").get<std::vector<std::string>>();
    config.height = json.at("height");
    config.width = json.at("width");
    config.channel_scale = json.at("channel_scale");
    config.seed = json.value("seed", config.seed);
    config.exif = exif_from_name(json.value("exif", name_of(config.exif)));
  } catch (const nlohmann::json::exception& error) {
    throw usage_error("'{}' has damaged metadata: {}", loaded.path.string(), error.what());
  }
  loaded.model = std::make_unique<CentreDetector>(config);
  load_exactly(*loaded.model, file, loaded.path, "centre-detector");
  return loaded;
}

}  // namespace tapescope::detection
