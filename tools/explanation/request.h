// What is asked of an explanation: methods, target and settings, as options name them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/explanation/class_logits.h"

namespace tapescope {

struct ExplanationRequest {
  std::string methods = "all", target = "predicted", against, unit;
  bool log_probability = false;
  bool method_given = false;
  std::string low = "0", high = "1";  // of lrp's z-box
  std::string baseline, quadrature = "midpoint", segments = "grid";
  explain::ExplainOptions settings;

  std::vector<std::string> chosen_methods() const;
  // Of all methods, one that a model does not admit; never what was asked for by itself.
  bool may_be_left_out(std::string_view method) const {
    return methods == "all" && method != "lrp-composite";
  }
  // What paths and references of a method start from, by name; empty: it takes none.
  std::string baseline_names(std::string_view method) const;
};

// Position of the class called `name`, or of class number N where it is '#N' and no class is called
// so. A usage error names `option`.
std::int64_t class_index(const std::string& option, const std::string& name,
                         const std::vector<std::string>& classes);

// "conv4/relu[17]": the node and a number of it. `option` is named in the error.
struct NodeIndex {
  std::string node;
  std::int64_t index = 0;
};
NodeIndex parsed_node(const std::string& option, const std::string& text);

// What is explained: the class named by --target, or the one with the highest of `logits`
// {1,classes}, or the unit of --unit.
struct ClassTarget {
  std::int64_t index = 0;
  std::string name;  // for people
};
ClassTarget target_of(const ExplanationRequest& request, const std::vector<std::string>& classes,
                      const Tensor& logits);

// Records a net's answers: its logits, or what --log-probability, --against and --unit put in
// their place. The index that target_of() gives picks among them.
explain::Explainer::Record recorder_of(const ClassLogits& net, const ExplanationRequest& request);
explain::Explainer explainer_of(const ClassLogits& net, const Backend& backend,
                                const ExplanationRequest& request);

// "1 forward pass", "3.2 forward passes".
std::string forward_passes(double count);
// ", off by 0.0031 at most"; ", its error unknown" where too little was drawn to tell; nothing for
// a method that averages nothing, or exactly.
std::string error_text(const explain::Attribution& attribution);
// A sentence where the score or the map is not finite, which then explains nothing; else nothing.
// It names the first node that is not, where there is an explainer.
std::string not_finite(explain::Explainer* explainer, const explain::Attribution& attribution,
                       const Tensor& input, std::int64_t index, const std::string& target);

}  // namespace tapescope
