// A graph that runs: on tensors as they are, or as a net that gives class scores of pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/common/variant.h"
#include "layers/module.h"
#include "tools/onnx/graph_parameters.h"

namespace tapescope::onnx {

// The graph up to these values, for it to answer them and nothing else; every name may be that of
// any value. Throws a usage error for one that there is not.
void cut(Graph& graph, const std::vector<std::string>& outputs);

struct Output {
  std::string name;
  Tensor tensor;  // on the host, ONNX's axes: f32, f64, i64, or u8 for truth values and u8
};

// Answers every output for inputs given in the graph's order, each with ONNX's axes and of any
// dtype that holds the input's. Whole numbers may be shapes, axes and the like. Throws a usage
// error that names the input, or the node, where something does not fit.
std::vector<Output> run(const Graph& graph, const std::vector<Tensor>& inputs,
                        const Backend& backend);

// How a graph's input is a picture.
struct PictureInput {
  std::int64_t channels = 0, height = 0, width = 0;  // 0: the graph does not say
  bool channels_last = false;
};
// Throws a usage error where the graph has not one input, floating, with four axes.
PictureInput picture_input(const Graph& graph);

// The net of a graph whose first output is a score per class: {"image": f32 {N,H,W,C}} to
// {"logits": {N, classes}}. Parameters are called as the file calls them. Of a graph that answers
// otherwise, a map or one number, the units of its output stand for classes, in ONNX's order.
class OnnxClassifier final : public Classifier {
 public:
  // config: name, channels, sizes and classes say what it is given and what it answers.
  OnnxClassifier(std::shared_ptr<const Graph> graph, ModelConfig config);
  // Extents of the answer to one picture, as ONNX has them: {classes}, or those of a map.
  const Shape& answer() const { return answer_; }
  bool gives_classes() const { return answer_.rank() == 1 && answer_[0] > 1; }
  Var logits(Var image) const override;
  // A file does not say how its values began: normal, with each parameter's own mean and spread.
  std::unique_ptr<Classifier> redrawn(std::uint64_t seed) const override;
  // The bytes of a model file of this graph, which was kept, without the values of its parameters.
  std::string graph_file() const;

 private:
  std::shared_ptr<const Graph> graph_;
  GraphParameters parameters_;
  Shape answer_;
};

// Makes that net; its classes are counted. Throws usage errors as recording does, and where the
// output is whole numbers. A net that learns on has to give a score per class; one that does not
// may not do so through a Sigmoid, since its loss does not say what the numbers are. `left_out`
// receives what of the graph is no part of the net: a softmax at its end, a Sigmoid behind a map,
// outputs but the first.
std::unique_ptr<OnnxClassifier> classifier_of(Graph graph, ModelConfig config,
                                              std::vector<std::string>& left_out,
                                              bool learns = false);

}  // namespace tapescope::onnx
