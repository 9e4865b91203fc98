// A training that begins with the net of an ONNX file. Its run keeps the graph as RUN/model.onnx,
// without the values of parameters, which are in the run's model files as any net's are.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tools/onnx/graph.h"

namespace tapescope {

struct OnnxStart {
  onnx::Graph graph;
  std::int64_t image_size = 0, channels = 3;
  bool any_size = false;        // image_size is a proposal
  bool batch_norm = false;      // whether any is left in the graph
  std::string preprocess = {};  // transforms as JSON, where the file says how it wants its pictures

  // The net, and what RUN/model.onnx will be. Where the data's classes are not as many as the
  // file's the last layer is drawn anew, and `notices` says so.
  struct Net {
    std::unique_ptr<Classifier> model;
    std::string file;
  };
  Net net(const ModelConfig& config, std::vector<std::string>& notices);
};

// Throws a usage error for what is no classifier of square pictures. Values of parameters may be
// missing from the graph that the run `out` keeps.
OnnxStart read_onnx_start(const std::string& file, bool allow_outside,
                          const std::filesystem::path& out);

std::filesystem::path graph_path(const std::filesystem::path& run);
// Of a graph's bytes, as model files name it.
std::string graph_hash(const std::string& bytes);
// The net of a run's graph, with zeros for the parameters, at most config.room numbers. Throws a
// usage error where the file is gone or is not the one of that hash.
std::unique_ptr<Classifier> net_of_run(const std::filesystem::path& graph, const std::string& hash,
                                       const ModelConfig& config);

}  // namespace tapescope
