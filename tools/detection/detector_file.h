// Detectors in run directories.
#pragma once

#include <filesystem>
#include <map>
#include <optional>

#include "tools/detection/centre_detector.h"
#include "tools/training/weights.h"

namespace tapescope::detection {

struct LoadedDetector {
  std::unique_ptr<CentreDetector> model;
  std::filesystem::path path;
};

std::map<std::string, std::string> metadata_of(const DetectorConfig& config);
// What the model file says of itself, from its header alone; usage errors as load_detector's.
DetectorConfig read_detector_config(const std::filesystem::path& run, const std::string& which);
// How its data was divided, for a command on `split`; none of a run of before, whose pictures stay
// where they are found.
std::optional<DataOptions> division_of(const DetectorConfig& config, const std::string& split);

// `which` is best, last, initial or a file; usage errors as load_model's.
LoadedDetector load_detector(SafetensorsFile& file, const LoadOptions& options = {});
LoadedDetector load_detector(const std::filesystem::path& run, const std::string& which,
                             const LoadOptions& options = {});

}  // namespace tapescope::detection
