#include "autograd/explain/rule.h"

#include "engine/error.h"

namespace tapescope::explain::rules {
namespace {

Rule linear(std::string name, std::vector<Group> groups, double epsilon) {
  return {std::move(name), Rule::Kind::linear, std::move(groups), epsilon};
}
Rule plain(std::string name, Rule::Kind kind) { return {std::move(name), kind}; }

// What speaks for an output, and what speaks against it.
const std::vector<Part> kPositive = {{Pick::positive, Pick::positive, Pick::positive},
                                     {Pick::negative, Pick::negative, Pick::none}};
const std::vector<Part> kNegative = {{Pick::positive, Pick::negative, Pick::negative},
                                     {Pick::negative, Pick::positive, Pick::none}};

}  // namespace

Rule epsilon(double epsilon) { return linear("epsilon", {{{Part{}}}}, epsilon); }

Rule z_plus(double epsilon) { return linear("z-plus", {{kPositive}}, epsilon); }

Rule z_minus(double epsilon) {
  Rule rule = linear("z-minus", {{kNegative}}, epsilon);
  for (Part& part : rule.groups[0].parts) part.sign = -1;
  return without_bias(rule);
}

Rule alpha_beta(double alpha, double beta, double epsilon) {
  if (alpha < 1 || beta < 0 || alpha - beta < 1 - 1e-9 || alpha - beta > 1 + 1e-9) {
    throw usage_error("[alpha-beta] needs alpha - beta = 1 and beta >= 0, not alpha {} and beta {}",
                      alpha, beta);
  }
  return linear("alpha-beta", {{kPositive, alpha}, {kNegative, -beta}}, epsilon);
}

Rule gamma(double gamma, double epsilon) {
  Rule rule = linear("gamma",
                     {{{{Pick::positive, Pick::raised_positive, Pick::raised_positive},
                        {Pick::negative, Pick::raised_negative, Pick::none}},
                       1,
                       Gate::positive_output},
                      {{{Pick::positive, Pick::raised_negative, Pick::raised_negative},
                        {Pick::negative, Pick::raised_positive, Pick::none}},
                       1,
                       Gate::negative_output}},
                     epsilon);
  rule.gamma = gamma;
  return rule;
}

Rule z_box(Bound low, Bound high, double epsilon) {
  Rule rule = linear("z-box",
                     {{{{Pick::value, Pick::value, Pick::none},
                        {Pick::low, Pick::positive, Pick::none, -1},
                        {Pick::high, Pick::negative, Pick::none, -1}}}},
                     epsilon);
  rule.low = std::move(low);
  rule.high = std::move(high);
  return rule;
}

Rule w_square(double epsilon) {
  return linear("w-square", {{{{Pick::one, Pick::square, Pick::square}}}}, epsilon);
}

Rule flat(double epsilon) {
  return linear("flat", {{{{Pick::one, Pick::one, Pick::none}}}}, epsilon);
}

Rule pass() { return plain("pass", Rule::Kind::pass); }
Rule gradient() { return plain("gradient", Rule::Kind::gradient); }
Rule share(double epsilon) {
  Rule rule = plain("share", Rule::Kind::share);
  rule.epsilon = epsilon;
  return rule;
}
Rule expansion() { return plain("expansion", Rule::Kind::expansion); }
Rule signal() { return plain("signal", Rule::Kind::signal); }
Rule elementary() { return plain("elementary", Rule::Kind::elementary); }
Rule guided() { return plain("guided", Rule::Kind::guided); }
Rule deconvnet() { return plain("deconvnet", Rule::Kind::deconvnet); }

Rule without_bias(Rule rule) {
  for (Group& group : rule.groups) {
    for (Part& part : group.parts) part.bias = Pick::none;
  }
  rule.name += " without bias";
  return rule;
}

bool is_identity(const Rule& rule) {
  if (rule.kind != Rule::Kind::linear || rule.groups.size() != 1) return false;
  const Group& group = rule.groups[0];
  return group.parts.size() == 1 && group.parts[0].input == Pick::value &&
         group.parts[0].weight == Pick::value && group.parts[0].sign == 1;
}

}  // namespace tapescope::explain::rules
