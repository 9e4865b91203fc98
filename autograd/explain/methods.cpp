#include "autograd/explain/methods.h"

#include <algorithm>

#include "autograd/explain/cam.h"
#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/gradient_methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {
namespace {

constexpr std::string_view kSaturation = "inputs whose effect has saturated: their gradient is 0";
constexpr std::string_view kLaterLayers =
    "most of the later layers' parameters, hence why this class and not that one";
constexpr std::string_view kCoarse = "anything finer than the feature map's positions";
constexpr std::string_view kBaseline = "what the baseline has in common with the picture";
constexpr std::string_view kFeatures = "a feature map {N,h,w,K}";
constexpr std::string_view kNode = "a node (--layer)";
constexpr std::string_view kRules = "a rule for every op on the way";

constexpr Method kMethods[] = {
    {.name = "saliency",
     .about = {"Simonyan et al. 2013, arXiv 1312.6034", "2", "", kSaturation},
     .flags = kSensitivity,
     .run = [](Recording& r) { return saliency(r.tape, r.target, r.image); }},
    {.name = "input-x-gradient",
     .about = {"Shrikumar et al. 2016, arXiv 1605.01713", "2", "",
               "inputs that are 0, and what has saturated"},
     .flags = kPlain,
     .run = [](Recording& r) { return input_x_gradient(r.tape, r.target, r.image); }},
    {.name = "smoothgrad",
     .about = {"Smilkov et al. 2017, arXiv 1706.03825", "2 a draw", "noise, draws", kSaturation},
     .flags = kSensitivity,
     .run = [](const Request& r) { return runs::from_noise(r, NoiseMean::gradient); }},
    {.name = "smoothgrad-squared",
     .about = {"Hooker et al. 2018, arXiv 1806.10758", "2 a draw", "noise, draws", "signs"},
     .flags = kSensitivity,
     .run = [](const Request& r) { return runs::from_noise(r, NoiseMean::squared); }},
    {.name = "vargrad",
     .about = {"Adebayo et al. 2018, arXiv 1810.03292", "2 a draw", "noise, draws",
               "signs, and everything that acts linearly"},
     .flags = kSensitivity,
     .run = [](const Request& r) { return runs::from_noise(r, NoiseMean::variance); }},
    {.name = "integrated-gradients",
     .about = {"Sundararajan et al. 2017, arXiv 1703.01365", "2 a step", "a baseline", kBaseline},
     .flags = kMeanOfBaselines,
     .run = runs::integrated_gradients},
    {.name = "gradient-shap",
     .about = {"Erion et al. 2019, arXiv 1906.10670", "2 a draw", "baselines", kBaseline},
     .flags = kSeveralBaselines,
     .run = runs::gradient_shap},
    {.name = "fullgrad",
     .about = {"Srinivas and Fleuret 2019, arXiv 1905.00780", "2 to 3", "",
               "signs: every part is made positive, scaled to its largest and added up over its "
               "channels"},
     .flags = kPlain,
     .run =
         [](Recording& r) {
           const FullGradient full = full_gradient(r.tape, r.target, r.image);
           r.residual = sub(sub(r.target, full.input_part), full.bias_part);
           return full.map;
         }},
    {.name = "grad-cam",
     .about = {"Selvaraju et al. 2017, arXiv 1610.02391", "2", kFeatures, kCoarse},
     .flags = kAtLayer,
     .run = [](Recording& r) { return grad_cam(r.tape, r.target, r.at_layer()); }},
    {.name = "cam",
     .about = {"Zhou et al. 2016, arXiv 1512.04150", "1 to 2",
               "a linear tail behind the feature map", kCoarse},
     .flags = kAtLayer,
     .run = [](Recording& r) { return cam(r.tape, r.target, r.at_layer()); }},
    {.name = "grad-cam++",
     .about = {"Chattopadhay et al. 2018, arXiv 1710.11063", "2", kFeatures,
               "evidence against the class: negative gradients are dropped"},
     .flags = kAtLayer,
     .run = [](Recording& r) { return grad_cam_plus_plus(r.tape, r.target, r.at_layer()); }},
    {.name = "xgrad-cam",
     .about = {"Fu et al. 2020, arXiv 2008.02312", "2", kFeatures, kCoarse},
     .flags = kAtLayer,
     .run = [](Recording& r) { return xgrad_cam(r.tape, r.target, r.at_layer()); }},
    {.name = "hires-cam",
     .about = {"Draelos and Carin 2020, arXiv 2011.08891", "2", kFeatures, kCoarse},
     .flags = kAtLayer,
     .run = [](Recording& r) { return hires_cam(r.tape, r.target, r.at_layer()); }},
    {.name = "layer-cam",
     .about = {"Jiang et al. 2021, 10.1109/TIP.2021.3089943", "2", kFeatures,
               "evidence against the class"},
     .flags = kAtLayer,
     .run = [](Recording& r) { return layer_cam(r.tape, r.target, r.at_layer()); }},
    {.name = "eigen-cam",
     .about = {"Muhammad and Yeasin 2020, arXiv 2008.00299", "1", kFeatures,
               "the class: it shows what is active, not why"},
     .flags = kAtLayer,
     .run = runs::eigen_cam},
    {.name = "score-cam",
     .about = {"Wang et al. 2020, arXiv 1910.01279", "1 a channel", kFeatures,
               "evidence against the class: all weights are positive"},
     .flags = kAtLayer,
     .run = runs::score_cam},
    {.name = "ablation-cam",
     .about = {"Desai and Ramaswamy 2020, 10.1109/WACV45572.2020.9093360",
               "the tail's share of one, a channel", kFeatures, kCoarse},
     .flags = kAtLayer,
     .run = runs::ablation_cam},
    {.name = "guided-grad-cam",
     .about = {"Selvaraju et al. 2017, arXiv 1610.02391", "4", "a feature map, ReLUs",
               kLaterLayers},
     .flags = kAtLayer,
     .run =
         [](Recording& r) {
           const Var map = guided_grad_cam(r.tape, r.target, r.at_layer(), r.image);
           r.node = r.image.path();
           return map;
         }},
    {.name = "activation",
     .about = {"", "1", kNode, "the class"},
     .flags = kAtLayer,
     .run = [](Recording& r) { return r.at_layer(); }},
    {.name = "gradient-x-activation",
     .about = {"", "2", kNode, kSaturation},
     .flags = kAtLayer,
     .run =
         [](Recording& r) {
           const Var layer = r.at_layer();
           return mul(layer, r.tape.gradient(r.target, {layer})[0]);
         }},
    {.name = "conductance",
     .about = {"Dhamdhere et al. 2018, arXiv 1805.12233", "3 a step", "a node, a baseline",
               kBaseline},
     .flags = kAtLayer | kMeanOfBaselines,
     .run = runs::conductance},
    {.name = "internal-influence",
     .about = {"Leino et al. 2018, arXiv 1802.03788", "2 a step", "a node, a baseline",
               "how strongly the unit is active"},
     .flags = kAtLayer | kMeanOfBaselines,
     .run = runs::internal_influence},
    {.name = "layer-integrated-gradients",
     .about = {"Sundararajan et al. 2017, arXiv 1703.01365", "2 a step", "a node, a baseline",
               kBaseline},
     .flags = kAtLayer | kMeanOfBaselines,
     .run = runs::layer_integrated_gradients},
    {.name = "deeplift",
     .about = {"Shrikumar et al. 2017, arXiv 1704.02685", "3", "a baseline", kBaseline},
     .flags = kOneBaseline,
     .run = runs::deeplift},
    {.name = "deeplift-shap",
     .about = {"Lundberg and Lee 2017, arXiv 1705.07874", "3 a baseline", "baselines", kBaseline},
     .flags = kSeveralBaselines,
     .run = runs::deeplift_shap},
    {.name = "lrp-epsilon",
     .about = {"Bach et al. 2015, 10.1371/journal.pone.0130140", "2", kRules,
               "what biases answer for; equals input times gradient on nets of ReLUs"},
     .flags = kPlain,
     .run = [](const LrpSettings& s) { return lrp::epsilon(s.epsilon); }},
    {.name = "lrp-epsilon-plus",
     .about = {"Montavon et al. 2019; Kohlbrenner et al. 2020, arXiv 1910.09840", "3 to 4", kRules,
               kLaterLayers},
     .flags = kSignOfTarget,
     .run = [](const LrpSettings& s) { return lrp::epsilon_plus(s.epsilon); }},
    {.name = "lrp-epsilon-plus-flat",
     .about = {"Kohlbrenner et al. 2020, arXiv 1910.09840", "3 to 4", kRules,
               "detail finer than the first kernel"},
     .flags = kSignOfTarget,
     .run = [](const LrpSettings& s) { return lrp::epsilon_plus_flat(s.epsilon); }},
    {.name = "lrp-epsilon-gamma-box",
     .about = {"Montavon et al. 2019; zennit's composite", "4 to 6", kRules,
               "evidence against, softened by gamma"},
     .flags = kSignOfTarget,
     .run =
         [](const LrpSettings& s) {
           return lrp::epsilon_gamma_box(s.low, s.high, s.gamma, s.epsilon);
         }},
    {.name = "lrp-epsilon-alpha2-beta1",
     .about = {"Bach et al. 2015, 10.1371/journal.pone.0130140", "4 to 6", kRules, kLaterLayers},
     .flags = kSignOfTarget,
     .run = [](const LrpSettings& s) { return lrp::epsilon_alpha2_beta1(s.epsilon); }},
    {.name = "lrp-epsilon-alpha2-beta1-flat",
     .about = {"Bach et al. 2015; Kohlbrenner et al. 2020", "4 to 6", kRules, kLaterLayers},
     .flags = kSignOfTarget,
     .run = [](const LrpSettings& s) { return lrp::epsilon_alpha2_beta1_flat(s.epsilon); }},
    {.name = "excitation-backprop",
     .about = {"Zhang et al. 2016, arXiv 1608.00507", "3 to 4", kRules, "everything inhibitory"},
     .flags = kPlain,
     .run = [](const LrpSettings&) { return excitation_backprop(); }},
    {.name = "contrastive-excitation-backprop",
     .about = {"Zhang et al. 2016, arXiv 1608.00507", "5 to 7", kRules, kCoarse},
     .flags = kPlain,
     .run =
         [](Recording& r) { return contrastive_excitation_backprop(r.tape, r.target, r.image); }},
    {.name = "guided-backprop",
     .about = {"Springenberg et al. 2014, arXiv 1412.6806", "2", "ReLUs", kLaterLayers},
     .flags = kSensitivity,
     .run = [](const LrpSettings&) { return guided_backprop(); }},
    {.name = "deconvnet",
     .about = {"Zeiler and Fergus 2014, arXiv 1311.2901", "2", "ReLUs", kLaterLayers},
     .flags = kSensitivity,
     .run = [](const LrpSettings&) { return deconvnet(); }},
    {.name = "occlusion",
     .about = {"Zeiler and Fergus 2014, arXiv 1311.2901",
               "1 a window, or the share of one that it reaches", "a baseline",
               "evidence that is there twice: covering one copy changes nothing"},
     .flags = kOneBaseline,
     .run = runs::occlusion},
    {.name = "feature-ablation",
     .about = {"Zeiler and Fergus 2014, arXiv 1311.2901", "1 a feature", "a baseline",
               "evidence that is there twice, and anything finer than a feature"},
     .flags = kOneBaseline,
     .run = runs::feature_ablation},
    {.name = "rise",
     .about = {"Petsiuk et al. 2018, arXiv 1806.07421", "the budget", "a baseline",
               "anything finer than a mask's cell; what is left is noise (error_estimate)"},
     .flags = kOneBaseline,
     .run = runs::rise},
    {.name = "shapley",
     .about = {"Castro et al. 2009, 10.1016/j.cor.2008.04.004", "the budget", "a baseline",
               "anything finer than a feature"},
     .flags = kOneBaseline,
     .run = runs::shapley},
    {.name = "kernel-shap",
     .about = {"Lundberg and Lee 2017, arXiv 1705.07874", "the budget", "a baseline",
               "anything finer than a feature"},
     .flags = kOneBaseline,
     .run = runs::kernel_shap},
    {.name = "lime",
     .about = {"Ribeiro et al. 2016, arXiv 1602.04938", "the budget", "a baseline",
               "anything finer than a feature, and how features act together"},
     .flags = kOneBaseline,
     .run = runs::lime},
};

constexpr Method kParticular[] = {
    {.name = "lrp-composite",
     .about = {"Montavon et al. 2019; zennit's NameMapComposite", "2 to 6",
               "--composite: a rule for each name", "what its rules are blind to"},
     .flags = kSignOfTarget,
     .run = by_names},
    {.name = "odam",
     .about = {"Zhao and Chan 2023, arXiv 2304.06354", "2", "a detector's box", kCoarse},
     .flags = kOfBoxes,
     .run = Elsewhere::tools},
    {.name = "d-rise",
     .about = {"Petsiuk et al. 2021, arXiv 2006.03204", "the budget, shared by all boxes",
               "a detector's box, a baseline",
               "anything finer than a mask's cell; what is left is noise (error_estimate)"},
     .flags = kOneBaseline | kOfBoxes,
     .run = Elsewhere::tools},
};

constexpr Method kOthers[] = {
    {.name = "tracin",
     .about = {"Pruthi et al. 2020, arXiv 2002.08484", "1 to 3 an example and checkpoint",
               "checkpoints kept while training, the training data",
               "what was learnt between the checkpoints, and how steps on different examples act "
               "together"},
     .flags = kPlain,
     .run = Elsewhere::tools},
    {.name = "nearest-examples",
     .about = {"", "1 an example", "a node (--layer), the training data",
               "why they are alike: the node's values are compared as a whole"},
     .flags = kPlain,
     .run = Elsewhere::tools},
    {.name = "tcav",
     .about = {"Kim et al. 2018, arXiv 1711.11279", "3 a picture",
               "pictures of the concept, others, and of the class; a node (--layer)",
               "concepts that no straight direction at the node stands for"},
     .flags = kPlain,
     .run = Elsewhere::tools},
    {.name = "feature-visualization",
     .about = {"Olah et al. 2017, 10.23915/distill.00007", "2 a step",
               "a class, or a unit of a node",
               "everything but one of the pictures that raise the unit"},
     .flags = kPlain,
     .run = Elsewhere::tools},
    {.name = "fgsm",
     .about = {"Goodfellow et al. 2015, arXiv 1412.6572", "2", "a picture",
               "changes that need more than one step"},
     .flags = kPlain,
     .run = Elsewhere::tools},
    {.name = "pgd",
     .about = {"Madry et al. 2018, arXiv 1706.06083", "2 a step", "a picture",
               "smaller changes: it looks for one within the radius, not for the smallest"},
     .flags = kPlain,
     .run = Elsewhere::tools},
};

// No row leaves anything out, and no name stands twice.
consteval bool complete(std::span<const Method> rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Method& row = rows[i];
    if (row.name.empty() || row.about.cost.empty() || row.about.blind_to.empty()) return false;
    if (row.flags == kUnstated || row.run.index() == 0) return false;
    for (const Method& other : rows.first(i)) {
      if (other.name == row.name) return false;
    }
  }
  return true;
}
static_assert(complete(kMethods) && complete(kParticular) && complete(kOthers));

}  // namespace

std::span<const Method> all_methods() { return kMethods; }
std::span<const Method> particular_methods() { return kParticular; }
std::span<const Method> other_methods() { return kOthers; }

const Method* find_method(std::string_view name) {
  for (const std::span<const Method> rows : {all_methods(), particular_methods()}) {
    for (const Method& row : rows) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

std::optional<Composite> composite_of(std::string_view method, const LrpSettings& settings) {
  const Method* row = find_method(method);
  const MakeComposite* make = row != nullptr ? std::get_if<MakeComposite>(&row->run) : nullptr;
  if (make == nullptr) return {};
  return (*make)(settings);
}

}  // namespace tapescope::explain
