#include "tools/cli/explanation_options.h"

namespace tapescope::cli {
namespace {

void add_relevance_options(CommandLine& line, ExplanationRequest& request) {
  line.option("--composite", request.settings.lrp.rules,
              "a rule of layer-wise relevance propagation for each name, as method "
              "lrp-composite: NODES=RULE, several with commas, the first that matches is taken "
              "(conv1*=z-box,layer4*=gamma:0.25,*=epsilon:1e-6); rules are epsilon[:E], "
              "gamma[:G], z-plus, alpha-beta:A:B, z-box[:LOW:HIGH], flat, w-square");
  line.option("--epsilon", request.settings.lrp.epsilon, "of the lrp methods: the stabiliser")
      .show_default()
      .positive();
  line.option("--gamma", request.settings.lrp.gamma, "of lrp-epsilon-gamma-box and lrp-composite")
      .show_default()
      .not_negative();
  line.option("--low", request.low,
              "of lrp's z-box: the least a pixel may be, 0 for black, 1 for white, or picture, "
              "each picture's own least")
      .show_default();
  line.option("--high", request.high, "of lrp's z-box: the most, likewise").show_default();
}

}  // namespace

void add_explanation_options(CommandLine& line, ExplanationRequest& request,
                             const std::string& method_help) {
  line.option("--method", request.methods, method_help)
      .show_default()
      .note_if_given(request.method_given);
  line.option(
          "--target", request.target,
          "predicted, the name of a class, or '#7': class number 7; of an ONNX file that answers "
          "no classes: '[C,Y,X]', a unit of its output, or predicted, the largest")
      .show_default();
  line.option("--against", request.against, "explain the target's score minus this class's");
  line.flag("--log-probability", request.log_probability,
            "explain the logarithm of the target's probability instead of its score");
  line.option("--unit", request.unit,
              "explain a unit of any node, NODE[INDEX], instead of a class");
  line.option("--layer", request.settings.layer,
              "node that the CAM and layer methods look at; default: the last feature map");
  line.option("--baseline", request.baseline,
              "what paths and references start from: black, white, noise, mean, blur or zero, "
              "several with commas; default: zero, of the shap methods black,white,blur,noise");
  line.option("--quadrature", request.quadrature, "of integrated gradients")
      .show_default()
      .one_of({"midpoint", "trapezoid", "gauss-legendre"});
  line.option("--steps", request.settings.steps, "points on a path")
      .show_default()
      .range(3, 1000000);
  line.option("--draws", request.settings.draws, "samples of the methods that draw")
      .show_default()
      .range(2, 1000000);
  line.option("--window", request.settings.window,
              "occlusion's window in pixels; 0: an eighth of the shorter side")
      .show_default()
      .range(0, 100000);
  line.option("--stride", request.settings.stride, "occlusion's step in pixels; 0: half a window")
      .show_default()
      .range(0, 100000);
  line.option("--grid", request.settings.grid,
              "features of ablation, shapley, kernel-shap and lime: grid x grid")
      .show_default()
      .range(1, 1000);
  line.option("--segments", request.segments,
              "features of ablation, shapley, kernel-shap and lime: grid, slic (patches of like "
              "colour, about as many), or a picture of the model's input size, each grey value "
              "a feature")
      .show_default();
  line.option("--noise", request.settings.noise, "SmoothGrad's, as a share of the picture's range")
      .show_default()
      .range(0.0, 10.0);
  add_relevance_options(line, request);
  line.option("--seed", request.settings.seed, "of what is drawn").show_default();
  line.option("--budget", request.settings.budget, "most forward passes per map")
      .show_default()
      .range(10.0, 1e9);
}

void add_box_options(CommandLine& line, tasks::BoxChoice& boxes) {
  line.option("--box", boxes.box,
              "of a detector: which box of `detect`'s list, from 0, or all; default: the surest");
  line.option("--at", boxes.at,
              "of a detector: X,Y in the picture: the answer there, whatever its score");
  line.flag("--missed", boxes.missed,
            "of a detector: objects annotated in --data that no box finds, each by the cell "
            "whose box fits it best");
  line.option("--side", boxes.side,
              "of a detector: score, or left, top, right, bottom: why that side is there")
      .show_default();
  line.option("--threshold", boxes.threshold, "of a detector: as `detect` lists boxes")
      .show_default();
  line.option("--nms", boxes.nms, "of a detector: as `detect` lists boxes").show_default();
}

void add_other_options(CommandLine& line, tasks::OtherOptions& other) {
  const char* group = "Instead of maps";
  line.flag("--tracin", other.tracin,
            "training examples of --data that taught the answer (from a run that was trained "
            "with --keep-checkpoints)")
      .group(group);
  line.flag("--nearest-examples", other.nearest, "training examples of --data alike at --layer")
      .group(group);
  line.option("--examples", other.examples,
              "of the two: how many are looked at, spread over the training data; 0: all")
      .show_default()
      .range(0, 1 << 30)
      .group(group);
  line.option("--shown", other.shown, "of the two: how many are shown of each kind")
      .show_default()
      .range(1, 100)
      .group(group);
  line.option("--parameters", other.parameters,
              "of --tracin: glob of the parameters that learn; default: the last layer's")
      .group(group);
  line.option("--tcav", other.concept_folder,
              "folder with pictures of a concept: how the score of --target answers to it, on "
              "the pictures given")
      .group(group);
  line.option("--random", other.random_folder, "of --tcav: folder with pictures of anything")
      .group(group);
  line.option("--random-sets", other.random_sets, "of --tcav: how often others are drawn of those")
      .show_default()
      .range(3, 10000)
      .group(group);
  line.flag("--feature-visualization", other.visualization,
            "a picture that raises --target, --unit or --channel; no picture is needed")
      .group(group);
  line.option("--channel", other.channel,
              "of --feature-visualization: NODE[INDEX], the mean of one channel of a feature map")
      .group(group);
  line.flag("--fgsm", other.fgsm, "the picture changed in one step so that the answer changes")
      .group(group);
  line.flag("--pgd", other.pgd, "the same in several steps; with --target CLASS: to this class")
      .group(group);
  line.option("--radius", other.radius, "of the two: most change, in 1/255 of black to white")
      .show_default()
      .range(0.0, 1e6)
      .group(group);
  line.option("--norm", other.norm,
              "of --pgd: linf, each value by at most the radius, or l2, the length of the change "
              "(1 is one value from black to white times 255)")
      .show_default()
      .one_of({"linf", "l2"})
      .group(group);
  line.option("--attack-steps", other.attack_steps, "of --pgd")
      .show_default()
      .range(1, 100000)
      .group(group);
}

}  // namespace tapescope::cli
