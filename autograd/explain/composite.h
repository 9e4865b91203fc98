// Which rule each node gets: by the kind of op, by scope, or by its place between input and target.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/explain/rule.h"
#include "autograd/node.h"

namespace tapescope::explain {

// One node between the explained Vars and the target.
struct Place {
  const Node* node = nullptr;
  unsigned active = 0;  // bit i: operand i depends on what is explained
  RelevanceClass kind = RelevanceClass::stop;
  bool weighted = false;      // linear with weights: a convolution, a matrix product
  bool first_linear = false;  // no weighted node before it, on some way from the input
  bool last_linear = false;   // no weighted node behind it, on some way to the target
};

// The nodes that lie on a way from one of `wrt` to `target`, in order of recording; `wrt` and
// leaves are not among them.
std::vector<Place> route(const Tape& tape, Var target, std::span<const Var> wrt);

using Match = std::function<bool(const Place&)>;
Match op(std::string name);             // "conv2d"
Match scope(std::string glob);          // the node's scope: "layer1*", "*/downsample*"
Match relevance_class(RelevanceClass);  // every op of a class
Match first_linear();
Match last_linear();
Match any();

class Composite {
 public:
  // Relevance is what a node's output owes to its inputs and adds up; in the gradient domain what
  // flows is a changed gradient, every op without a rule follows its own derivative, and the seed
  // is 1.
  enum class Domain : unsigned char { relevance, gradient };
  explicit Composite(std::string name, Domain domain = Domain::relevance)
      : name_(std::move(name)), domain_(domain) {}

  // Rules are asked in the order in which they were added: the first that matches is taken.
  Composite& on(Match match, Rule rule) {
    entries_.emplace_back(std::move(match), std::move(rule));
    return *this;
  }
  // Whether a batch normalisation that alone reads a convolution or matrix product becomes part of
  // its weights, as if the model had been made so. On by default: without it z-plus sees the
  // normalisation's shift apart from the weights it belongs to.
  Composite& fold_batch_norm(bool fold) {
    folds_ = fold;
    return *this;
  }

  // Whether the walk starts from 1, as in the gradient domain, or from the target's value.
  Composite& start_from_one() {
    starts_from_one_ = true;
    return *this;
  }

  // `check` is shown all nodes on the way before anything is appended, and throws where they are
  // not what the rules were written for.
  Composite& expect(std::function<void(std::span<const Place>)> check) {
    check_ = std::move(check);
    return *this;
  }

  // Null where no rule matches.
  const Rule* rule_for(const Place& place) const;
  void check(std::span<const Place> places) const {
    if (check_) check_(places);
  }
  const std::string& name() const { return name_; }
  Domain domain() const { return domain_; }
  bool folds_batch_norm() const { return folds_; }
  bool starts_from_one() const { return starts_from_one_ || domain_ == Domain::gradient; }

 private:
  std::string name_;
  Domain domain_;
  bool folds_ = true, starts_from_one_ = false;
  std::vector<std::pair<Match, Rule>> entries_;
  std::function<void(std::span<const Place>)> check_;
};

// What every relevance composite ends with: element-wise functions pass relevance on, what only
// moves elements follows its derivative, and every other linear op (sums, mean pools,
// normalisations) shares it out in proportion to the values.
Composite& with_defaults(Composite& composite, double epsilon = 1e-6);

// Guided backpropagation (Springenberg et al. 2014, arXiv 1412.6806) and the deconvolutional
// network (Zeiler and Fergus 2014, arXiv 1311.2901). Neither tells classes apart well, and guided
// backpropagation hardly changes when the model's parameters are replaced by random ones (Adebayo
// et al. 2018).
Composite guided_backprop();
Composite deconvnet();
// Excitation backprop (Zhang et al. 2016, arXiv 1608.00507): the probability of each element under
// a walk from the target that follows positive connections only. The paper drops biases; with them
// it is zennit's. Where the target is a difference of scores the walk starts at both, with 1 and
// -1: what speaks for the one less what speaks for the other, bounded however near they are.
Composite excitation_backprop(bool biases = false);
// The same from the negated weights of the last layer: what speaks against the target. The paper's
// contrastive map is the difference of the two.
Composite inhibition_backprop();

}  // namespace tapescope::explain

// Layer-wise relevance propagation; the names are zennit's. Rules of the kind z-plus make maps that
// depend little on the later layers (Sixt et al. 2020, arXiv 1912.09818), which is why the
// composites keep epsilon in the dense ones.
namespace tapescope::lrp {

explain::Composite epsilon(double epsilon = 1e-6);
explain::Composite epsilon_plus(double epsilon = 1e-6);
explain::Composite epsilon_plus_flat(double epsilon = 1e-6);
// The box is the range of the input: see rules::z_box.
explain::Composite epsilon_gamma_box(explain::Bound low = {}, explain::Bound high = {},
                                     double gamma = 0.25, double epsilon = 1e-6);
explain::Composite epsilon_alpha2_beta1(double epsilon = 1e-6);
explain::Composite epsilon_alpha2_beta1_flat(double epsilon = 1e-6);

}  // namespace tapescope::lrp
