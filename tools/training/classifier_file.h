// Classifiers in run directories.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/models/zoo.h"
#include "tools/data/dataset.h"
#include "tools/training/checkpoint.h"
#include "tools/training/picture.h"
#include "tools/training/weights.h"

namespace tapescope {

// What a model file says of itself.
struct ModelInfo {
  ModelConfig config;
  std::vector<std::string> classes;
  Pipeline pipeline;  // how a picture becomes an input
  std::string loss = "nll";
  // How the data was split, so that an evaluation sees the same test pictures.
  double validation_fraction = 0, test_fraction = 0;
  std::uint64_t seed = 0;
  Draw draw = Draw::stratified;  // runs of before do not say
  BadImage on_bad_image = BadImage::fail;
  std::filesystem::path split_record = {};  // RUN/split.tsv; empty where there is none
  Exif exif = Exif::ignore;  // how its pictures are read; model files of before say nothing
  std::string graph = {};    // of a net of an ONNX file: graph_hash() of RUN/model.onnx
  Preprocess preprocess() const { return {pipeline, config.image(), exif}; }
};

// The string metadata of its model files.
std::map<std::string, std::string> metadata_of(const ModelInfo& info);

// How to open the model's data again for one of its splits: same classes, same pictures in each.
DataOptions data_options_of(const ModelInfo& info, const std::string& split);

struct LoadedModel {
  std::unique_ptr<Classifier> model;
  ModelInfo info;
  std::filesystem::path path;
};

// Throws a usage error that names the file and what is wrong: missing, cut short, not of this
// program, beyond what a model may be (layers/models/zoo.h), of another architecture, or with
// values that are NaN or infinite. Nothing large is made before the file's tensors are known to
// fit.
LoadedModel load_model(SafetensorsFile& file, const LoadOptions& options = {});
LoadedModel load_model(const std::filesystem::path& run, const std::string& which,
                       const LoadOptions& options = {});

// What the model file says of itself, from its header alone; the same errors, but for its tensors.
ModelInfo read_model_info(const std::filesystem::path& run, const std::string& which);

}  // namespace tapescope
