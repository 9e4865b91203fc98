#include "autograd/explain/layer_reader.h"

#include "autograd/explain/cam.h"
#include "autograd/explain/target.h"

namespace tapescope::explain {

LayerReader::LayerReader(const Explainer::Record& record, const Shape& image_shape,
                         const std::string& layer, const Backend& backend) {
  // For two images: a batch of one would hide which axes are the batch.
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image = tape.input("image", DType::f32, image_shape.with_leading(2));
  const Var logits = record(tape, image);
  const Var target = class_logit(logits, tape.input("class", DType::i64, {2}));
  const Var node = layer.empty() ? last_feature_map(tape, target, image) : tape.find(layer);
  node_ = node.path();
  values_ = std::make_unique<Program>(tape.compile({node}));
  gradient_ = std::make_unique<Program>(tape.compile(tape.gradient(target, {node})));
}

Tensor LayerReader::values(const Tensor& images) { return values_->run({{"image", images}})[0]; }

Tensor LayerReader::gradient(const Tensor& images, const Tensor& classes) {
  return gradient_->run({{"image", images}, {"class", classes}})[0];
}

}  // namespace tapescope::explain
