// How relevance passes one node: a rule says which copies of the node are recorded, on which parts
// of its operands, and what is divided by what.
//
// All rules for a node that is linear in its signal, z_k = sum_j a_j w_jk + b_k, are one scheme
// (Montavon et al. 2019; the decomposition into parts is that of zennit):
//
//   R_j = sum_g c_g sum_k q^g_jk * gate_k * R_k / stab(z^g_k),   z^g_k = sum_j q^g_jk + bias^g_k
//
// where a group g's q is a sum of parts, each a product of something taken from the input and
// something taken from the weights. A part needs nothing from the op but itself: the op is recorded
// again on the changed operands, and its vector-Jacobian product spreads what is divided.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tapescope::explain {

// What a part takes of a tensor v.
enum class Pick : unsigned char {
  none,             // nothing: a part without a bias
  value,            // v
  positive,         // max(v, 0)
  negative,         // min(v, 0)
  raised_positive,  // v + gamma max(v, 0)
  raised_negative,  // v + gamma min(v, 0)
  square,           // v^2
  one,              // 1 wherever v has an element, which counts a kernel's footprint
  low,
  high,  // the least and the largest value that the input may take
};
inline constexpr int kPicks = static_cast<int>(Pick::high) + 1;

struct Part {
  Pick input = Pick::value, weight = Pick::value, bias = Pick::value;
  double sign = 1;
};

// Which outputs a group answers for.
enum class Gate : unsigned char { all, positive_output, negative_output };

struct Group {
  std::vector<Part> parts;
  double coefficient = 1;
  Gate gate = Gate::all;
};

// The least or the largest value that an input may take: one for all channels (the last axis), or
// one each; absent: each image's own in each channel.
struct Bound {
  std::vector<double> values;
  Bound() = default;
  Bound(double of_all) : values{of_all} {}
  Bound(std::vector<double> by_channel) : values(std::move(by_channel)) {}
};

struct Rule {
  enum class Kind : unsigned char {
    linear,     // the scheme above
    pass,       // R_in = R_out, for element-wise functions of one operand
    gradient,   // the vector-Jacobian product: exact for ops that only move elements
    share,      // equal parts to every explained operand of a product; where that is a sum of
                // products, each part as epsilon spreads it with the other operand as weights
    signal,     // of a product of a signal and its gate: all to the signal, the first operand
    expansion,  // of a softmax: R_i = x_i (R_i - y_i sum_j R_j); what that leaves out is the bias's
    elementary,  // as the op's decomposition passes it
    guided,      // of a ReLU: max(R_out, 0) where the input was positive
    deconvnet    // of a ReLU: max(R_out, 0)
  };
  std::string name;
  Kind kind = Kind::linear;
  std::vector<Group> groups = {};
  double epsilon = 1e-6;  // added to z away from zero; 0 counts as positive
  double gamma = 0;
  Bound low = {}, high = {};
};

namespace rules {

// q = a w. LRP-0 is this with a tiny epsilon (Bach et al. 2015, 10.1371/journal.pone.0130140).
Rule epsilon(double epsilon = 1e-6);
// q = a+ w+ + a- w-, bias b+ (Bach et al. 2015, alpha 1 beta 0; Montavon et al. 2017).
Rule z_plus(double epsilon = 1e-6);
// z-plus without bias on the negated weights.
Rule z_minus(double epsilon = 1e-6);
// alpha times the positive parts less beta times the negative ones; alpha - beta = 1.
Rule alpha_beta(double alpha, double beta, double epsilon = 1e-6);
// Favours what speaks for an output, whatever signs input and output have.
Rule gamma(double gamma = 0.25, double epsilon = 1e-6);
// q = a w - low w+ - high w-, for inputs in [low, high] (Montavon et al. 2017): the box is that of
// all pictures, black and white as the pipeline makes them. Padding is 0.
Rule z_box(Bound low, Bound high, double epsilon = 1e-6);
Rule w_square(double epsilon = 1e-6);  // q = w^2
Rule flat(double epsilon = 1e-6);      // q = 1 over the kernel's footprint
Rule pass();
Rule gradient();
// Arras et al. 2017 (arXiv 1706.07206); of matrix products AttnLRP's (Achtibat et al. 2024, arXiv
// 2402.05602).
Rule share(double epsilon = 1e-6);
// AttnLRP's for a softmax over the last axis: y = softmax(x) expanded at x, of which the constant
// term, y_j less sum_i x_i dy_j/dx_i, is nobody's.
Rule expansion();
// Arras et al. 2019 (arXiv 1909.12114), "signal-take-all"; with it a normalisation's divisor is
// taken as a constant (Ali et al. 2022, arXiv 2202.07304).
Rule signal();
Rule elementary();
Rule guided();
Rule deconvnet();

// The same rule with every bias taken as zero.
Rule without_bias(Rule rule);
// Whether the rule is q = a w alone, which needs no second recording of the node.
bool is_identity(const Rule& rule);

}  // namespace rules
}  // namespace tapescope::explain
