#include "autograd/explain/methods.h"

#include <vector>

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

const std::vector<MethodInfo> kMethods = {
    {"saliency", "Simonyan et al. 2013, arXiv 1312.6034", "2", "", kSaturation, false, true},
    {"input-x-gradient", "Shrikumar et al. 2016, arXiv 1605.01713", "2", "",
     "inputs that are 0, and what has saturated"},
    {"smoothgrad", "Smilkov et al. 2017, arXiv 1706.03825", "2 a draw", "noise, draws", kSaturation,
     false, true},
    {"smoothgrad-squared", "Hooker et al. 2018, arXiv 1806.10758", "2 a draw", "noise, draws",
     "signs", false, true},
    {"vargrad", "Adebayo et al. 2018, arXiv 1810.03292", "2 a draw", "noise, draws",
     "signs, and everything that acts linearly", false, true},
    {"integrated-gradients", "Sundararajan et al. 2017, arXiv 1703.01365", "2 a step", "a baseline",
     kBaseline, false, false, Baselines::mean_over_all},
    {"gradient-shap", "Erion et al. 2019, arXiv 1906.10670", "2 a draw", "baselines", kBaseline,
     false, false, Baselines::mean_over_all},
    {"fullgrad", "Srinivas and Fleuret 2019, arXiv 1905.00780", "2 to 3", "",
     "signs: every part is made positive, scaled to its largest and added up over its channels"},
    {"grad-cam", "Selvaraju et al. 2017, arXiv 1610.02391", "2", kFeatures, kCoarse, true},
    {"cam", "Zhou et al. 2016, arXiv 1512.04150", "1 to 2", "a linear tail behind the feature map",
     kCoarse, true},
    {"grad-cam++", "Chattopadhay et al. 2018, arXiv 1710.11063", "2", kFeatures,
     "evidence against the class: negative gradients are dropped", true},
    {"xgrad-cam", "Fu et al. 2020, arXiv 2008.02312", "2", kFeatures, kCoarse, true},
    {"hires-cam", "Draelos and Carin 2020, arXiv 2011.08891", "2", kFeatures, kCoarse, true},
    {"layer-cam", "Jiang et al. 2021, 10.1109/TIP.2021.3089943", "2", kFeatures,
     "evidence against the class", true},
    {"eigen-cam", "Muhammad and Yeasin 2020, arXiv 2008.00299", "1", kFeatures,
     "the class: it shows what is active, not why", true},
    {"score-cam", "Wang et al. 2020, arXiv 1910.01279", "1 a channel", kFeatures,
     "evidence against the class: all weights are positive", true},
    {"ablation-cam", "Desai and Ramaswamy 2020, 10.1109/WACV45572.2020.9093360",
     "the tail's share of one, a channel", kFeatures, kCoarse, true},
    {"guided-grad-cam", "Selvaraju et al. 2017, arXiv 1610.02391", "4", "a feature map, ReLUs",
     kLaterLayers, true},
    {"activation", "", "1", kNode, "the class", true},
    {"gradient-x-activation", "", "2", kNode, kSaturation, true},
    {"conductance", "Dhamdhere et al. 2018, arXiv 1805.12233", "3 a step", "a node, a baseline",
     kBaseline, true, false, Baselines::mean_over_all},
    {"internal-influence", "Leino et al. 2018, arXiv 1802.03788", "2 a step", "a node, a baseline",
     "how strongly the unit is active", true, false, Baselines::mean_over_all},
    {"layer-integrated-gradients", "Sundararajan et al. 2017, arXiv 1703.01365", "2 a step",
     "a node, a baseline", kBaseline, true, false, Baselines::mean_over_all},
    {"deeplift", "Shrikumar et al. 2017, arXiv 1704.02685", "3", "a baseline", kBaseline, false,
     false, Baselines::first},
    {"deeplift-shap", "Lundberg and Lee 2017, arXiv 1705.07874", "3 a baseline", "baselines",
     kBaseline, false, false, Baselines::mean_over_all},
    {"lrp-epsilon", "Bach et al. 2015, 10.1371/journal.pone.0130140", "2", kRules,
     "what biases answer for; equals input times gradient on nets of ReLUs"},
    {"lrp-epsilon-plus", "Montavon et al. 2019; Kohlbrenner et al. 2020, arXiv 1910.09840",
     "3 to 4", kRules, kLaterLayers},
    {"lrp-epsilon-plus-flat", "Kohlbrenner et al. 2020, arXiv 1910.09840", "3 to 4", kRules,
     "detail finer than the first kernel"},
    {"lrp-epsilon-gamma-box", "Montavon et al. 2019; zennit's composite", "4 to 6", kRules,
     "evidence against, softened by gamma"},
    {"lrp-epsilon-alpha2-beta1", "Bach et al. 2015, 10.1371/journal.pone.0130140", "4 to 6", kRules,
     kLaterLayers},
    {"lrp-epsilon-alpha2-beta1-flat", "Bach et al. 2015; Kohlbrenner et al. 2020", "4 to 6", kRules,
     kLaterLayers},
    {"excitation-backprop", "Zhang et al. 2016, arXiv 1608.00507", "3 to 4", kRules,
     "everything inhibitory"},
    {"contrastive-excitation-backprop", "Zhang et al. 2016, arXiv 1608.00507", "5 to 7", kRules,
     kCoarse},
    {"guided-backprop", "Springenberg et al. 2014, arXiv 1412.6806", "2", "ReLUs", kLaterLayers,
     false, true},
    {"deconvnet", "Zeiler and Fergus 2014, arXiv 1311.2901", "2", "ReLUs", kLaterLayers, false,
     true},
    {"occlusion", "Zeiler and Fergus 2014, arXiv 1311.2901",
     "1 a window, or the share of one that it reaches", "a baseline",
     "evidence that is there twice: covering one copy changes nothing", false, false,
     Baselines::first},
    {"feature-ablation", "Zeiler and Fergus 2014, arXiv 1311.2901", "1 a feature", "a baseline",
     "evidence that is there twice, and anything finer than a feature", false, false,
     Baselines::first},
    {"rise", "Petsiuk et al. 2018, arXiv 1806.07421", "the budget", "a baseline",
     "anything finer than a mask's cell; what is left is noise (error_estimate)", false, false,
     Baselines::first},
    {"shapley", "Castro et al. 2009, 10.1016/j.cor.2008.04.004", "the budget", "a baseline",
     "anything finer than a feature", false, false, Baselines::first},
    {"kernel-shap", "Lundberg and Lee 2017, arXiv 1705.07874", "the budget", "a baseline",
     "anything finer than a feature", false, false, Baselines::first},
    {"lime", "Ribeiro et al. 2016, arXiv 1602.04938", "the budget", "a baseline",
     "anything finer than a feature, and how features act together", false, false,
     Baselines::first},
};

const std::vector<MethodInfo> kParticular = {
    {"lrp-composite", "Montavon et al. 2019; zennit's NameMapComposite", "2 to 6",
     "--composite: a rule for each name", "what its rules are blind to"},
    {"odam", "Zhao and Chan 2023, arXiv 2304.06354", "2", "a detector's box", kCoarse},
    {"d-rise", "Petsiuk et al. 2021, arXiv 2006.03204", "the budget, shared by all boxes",
     "a detector's box, a baseline",
     "anything finer than a mask's cell; what is left is noise (error_estimate)", false, false,
     Baselines::first},
};

const std::vector<MethodInfo> kOthers = {
    {"tracin", "Pruthi et al. 2020, arXiv 2002.08484", "1 to 3 an example and checkpoint",
     "checkpoints kept while training, the training data",
     "what was learnt between the checkpoints, and how steps on different examples act together"},
    {"nearest-examples", "", "1 an example", "a node (--layer), the training data",
     "why they are alike: the node's values are compared as a whole"},
    {"tcav", "Kim et al. 2018, arXiv 1711.11279", "3 a picture",
     "pictures of the concept, others, and of the class; a node (--layer)",
     "concepts that no straight direction at the node stands for"},
    {"feature-visualization", "Olah et al. 2017, 10.23915/distill.00007", "2 a step",
     "a class, or a unit of a node", "everything but one of the pictures that raise the unit"},
    {"fgsm", "Goodfellow et al. 2015, arXiv 1412.6572", "2", "a picture",
     "changes that need more than one step"},
    {"pgd", "Madry et al. 2018, arXiv 1706.06083", "2 a step", "a picture",
     "smaller changes: it looks for one within the radius, not for the smallest"},
};

}  // namespace

std::span<const MethodInfo> all_methods() { return kMethods; }
std::span<const MethodInfo> particular_methods() { return kParticular; }
std::span<const MethodInfo> other_methods() { return kOthers; }

const MethodInfo* find_method(std::string_view name) {
  for (const std::vector<MethodInfo>* list : {&kMethods, &kParticular}) {
    for (const MethodInfo& info : *list) {
      if (info.name == name) return &info;
    }
  }
  return nullptr;
}

}  // namespace tapescope::explain
