// What the methods in an Explainer's table work with.
#pragma once

#include <map>

#include "autograd/explain/explainer.h"
#include "autograd/explain/local_occlusion.h"
#include "autograd/explain/perturbation.h"
#include "autograd/program/program.h"

namespace tapescope::explain {

// A model on its tape, before a method's nodes are appended.
struct Recording {
  Tape& tape;
  Var image, index, logits, target;
  std::string layer;  // as asked for
  std::string node;   // what the map is over; set by the method where it is not the image
  std::vector<Var> cuts = {};
  Var residual = {};  // {N}: set by methods that promise to add up to something

  // The node asked for, or the last feature map.
  Var at_layer();
};

// A compiled method; the tape is gone, the paths of its nodes are kept.
struct Prepared {
  std::string node;
  std::string input;  // what the points of `gradients` are fed to: the image, or the node cut at
  Program program;
  double macs = 0;
};

// The Programs of one model, each recorded and compiled when it is first asked for.
struct Programs {
  using Append = std::function<std::vector<Var>(Recording&)>;

  Explainer::Record record;
  Shape image_shape;
  Backend backend;
  // All Programs run in turn; of resnet18, epsilon-plus keeps 300 MiB for the next picture.
  std::shared_ptr<SharedArena> arena =
      std::make_shared<SharedArena>(SharedArena{{}, std::size_t{1} << 30});
  std::map<std::string, std::unique_ptr<Prepared>> all = {};
  std::unique_ptr<LocalOcclusion> local_occlusion = {};

  // The Program under this key, recorded by `append` at the first time.
  Prepared& prepared(const std::string& key, const std::string& layer, const Append& append);
  Prepared& target();                           // one forward pass
  Prepared& gradient();                         // of the target in the picture
  Prepared& at_layer(const std::string& path);  // the node's value
  // The value of the last node on the way that is an affine function of the picture and all that is
  // known of it: a first convolution. Null where there is none.
  Prepared* affine_start();
  // What a run of it costs; `otherwise` where there are no multiply-adds to compare.
  double in_forwards(const Prepared& program, double otherwise);
};

struct Request {
  const Method& method;
  const Tensor& image;
  const Tensor& classes;
  const ExplainOptions& options;
  Programs& programs;

  std::string layer() const { return method.has(kAtLayer) ? options.layer : ""; }
  std::vector<Tensor> baselines() const;  // {N,H,W,C} each
  // The first output of a Program at any points of its input. Where that is a node that a way goes
  // around, what comes that way is the picture's.
  Gradients at_points(Prepared& program) const;
  Scores scores() const { return at_points(programs.target()); }
};

// What the rows of the table run that are more than one Program.
namespace runs {
Attribution integrated_gradients(const Request& request);
Attribution layer_integrated_gradients(const Request& request);
Attribution internal_influence(const Request& request);
Attribution conductance(const Request& request);
Attribution from_noise(const Request& request, NoiseMean what);
Attribution gradient_shap(const Request& request);
Attribution deeplift(const Request& request);
Attribution deeplift_shap(const Request& request);
Attribution eigen_cam(const Request& request);
Attribution score_cam(const Request& request);
Attribution ablation_cam(const Request& request);
Attribution occlusion(const Request& request);
Attribution feature_ablation(const Request& request);
Attribution rise(const Request& request);
Attribution shapley(const Request& request);
Attribution kernel_shap(const Request& request);
Attribution lime(const Request& request);
}  // namespace runs

// The map that `append` puts behind the model, by one run of one Program under this key.
Attribution one_run(const Request& request, const std::string& key,
                    const std::function<Var(Recording&)>& append);

// f32 {N}: target minus the sum of each sample's map.
Tensor residual_of(const Tensor& target, const Tensor& map);
// What the budget cut.
std::string cut_to(std::int64_t taken, std::int64_t asked, std::string_view what);
// `part` of `whole` added to it: the mean of `count` of them in the end.
void add_share(Tensor& whole, const Tensor& part, double share);

}  // namespace tapescope::explain
