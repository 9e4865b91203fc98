#include "autograd/explain/composite_by_name.h"

#include <fmt/format.h>

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/error.h"

namespace tapescope::explain {
namespace {

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == at) {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

struct NamedRule {
  std::string text, glob;
  Rule rule;
};

// "gamma:0.25" with the numbers that follow its name.
class RuleText {
 public:
  RuleText(const std::string& whole, const std::string& text) : whole_(whole) {
    std::vector<std::string> parts = split(text, ':');
    name = parts[0];
    std::erase(name, '-');
    for (std::size_t i = 1; i < parts.size(); ++i) numbers_.push_back(number(parts[i]));
  }
  // Number i, or what stands for it where the text ends before.
  double at(std::size_t i, std::optional<double> otherwise = {}) const {
    if (i < numbers_.size()) return numbers_[i];
    if (!otherwise) fail(fmt::format("it needs {} numbers, for instance alpha-beta:2:1", i + 1));
    return *otherwise;
  }
  // The same, which must be above 0.
  double epsilon(std::size_t i, double otherwise) const {
    const double v = at(i, otherwise);
    if (!(v > 0)) fail(fmt::format("its epsilon {} is not above 0", v));
    return v;
  }
  std::size_t count() const { return numbers_.size(); }
  void at_most(std::size_t count) const {
    if (numbers_.size() > count) fail(fmt::format("it takes {} numbers at most", count));
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw usage_error("--composite '{}': {}", whole_, why);
  }
  std::string name;

 private:
  double number(const std::string& text) const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      fail(fmt::format("'{}' is no number", text));
    }
    return value;
  }
  const std::string& whole_;
  std::vector<double> numbers_;
};

// A rule that a text may name. A new one is a row here.
struct RuleRow {
  std::string_view name;
  std::size_t most;  // numbers behind its name
  Rule (*make)(const RuleText& text, const LrpSettings& settings);
};
constexpr RuleRow kRules[] = {
    {"epsilon", 1,
     [](const RuleText& t, const LrpSettings& s) {
       return rules::epsilon(t.epsilon(0, s.epsilon));
     }},
    {"gamma", 2,
     [](const RuleText& t, const LrpSettings& s) {
       if (!(t.at(0, s.gamma) >= 0)) t.fail("its gamma is below 0");
       return rules::gamma(t.at(0, s.gamma), t.epsilon(1, s.epsilon));
     }},
    {"z-plus", 1,
     [](const RuleText& t, const LrpSettings& s) {
       return rules::z_plus(t.epsilon(0, s.epsilon));
     }},
    {"alpha-beta", 3,
     [](const RuleText& t, const LrpSettings& s) {
       return rules::alpha_beta(t.at(0), t.at(1), t.epsilon(2, s.epsilon));
     }},
    {"z-box", 2,
     [](const RuleText& t, const LrpSettings& s) {
       if (t.count() == 0) return rules::z_box(s.low, s.high, s.epsilon);
       if (!(t.at(0) < t.at(1))) t.fail("LOW is not below HIGH");
       return rules::z_box(t.at(0), t.at(1), s.epsilon);
     }},
    {"flat", 0, [](const RuleText&, const LrpSettings& s) { return rules::flat(s.epsilon); }},
    {"w-square", 0,
     [](const RuleText&, const LrpSettings& s) { return rules::w_square(s.epsilon); }},
};

Rule rule_of(const std::string& whole, const std::string& text, const LrpSettings& settings) {
  const RuleText parsed(whole, text);
  std::string known;
  for (const RuleRow& row : kRules) {
    std::string name(row.name);
    known += (known.empty() ? "" : ", ") + name;
    std::erase(name, '-');
    if (name != parsed.name) continue;
    parsed.at_most(row.most);
    return row.make(parsed, settings);
  }
  parsed.fail(fmt::format("its rule is none of {}, for instance conv1*=z-box,*=epsilon", known));
}

std::vector<NamedRule> parsed(std::string_view rules, const LrpSettings& settings) {
  std::vector<NamedRule> all;
  for (const std::string& part : split(rules, ',')) {
    const std::size_t equals = part.rfind('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == part.size()) {
      throw usage_error(
          "--composite '{}' is not of the form NODES=RULE, for instance "
          "conv1*=z-box,layer4*=gamma:0.25,*=epsilon:1e-6",
          part);
    }
    all.push_back({part, part.substr(0, equals), rule_of(part, part.substr(equals + 1), settings)});
  }
  return all;
}

bool may_be_named(const Place& place) {
  return place.weighted ||
         (place.kind == RelevanceClass::linear && place.node->op->folds_into_weights());
}

bool names(const std::string& glob, const Node& node) {
  return fnmatch(glob.c_str(), node.path().c_str(), 0) == 0 ||
         fnmatch(glob.c_str(), std::string(node.scope()).c_str(), 0) == 0;
}

// A name that is misspelt must not leave its nodes to other rules in silence.
void require_every_name(const std::vector<NamedRule>& all, std::span<const Place> places) {
  if (all.empty()) {
    throw usage_error(
        "[lrp-composite] no rules are given; for instance --composite "
        "conv1*=z-box,*=epsilon");
  }
  std::vector<bool> matched(all.size(), false), taken(all.size(), false);
  std::string known;
  int listed = 0;
  for (const Place& place : places) {
    if (!may_be_named(place)) continue;
    if (place.weighted && ++listed <= 12) {
      known += (known.empty() ? "" : ", ") + place.node->path();
    }
    bool first = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!names(all[i].glob, *place.node)) continue;
      matched[i] = true;
      if (first) taken[i] = true;
      first = false;
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!matched[i]) {
      throw usage_error("--composite '{}': no node of weights has this name; they are {}{}",
                        all[i].text, known, listed > 12 ? ", ..." : "");
    }
    if (!taken[i] && all[i].glob != "*") {
      throw usage_error("--composite '{}': rules before it take all of its nodes; put it first",
                        all[i].text);
    }
  }
}

}  // namespace

std::string key_of(const LrpSettings& settings) {
  return fmt::format("{} {} [{}] [{}] {}", settings.epsilon, settings.gamma,
                     fmt::join(settings.low.values, " "), fmt::join(settings.high.values, " "),
                     settings.rules);
}

Composite by_names(const LrpSettings& settings) {
  Composite composite("lrp-composite");
  std::vector<NamedRule> all;
  if (!settings.rules.empty()) all = parsed(settings.rules, settings);
  for (const NamedRule& named : all) {
    composite.on(
        [glob = named.glob](const Place& place) {
          return may_be_named(place) && names(glob, *place.node);
        },
        named.rule);
  }
  composite.expect([all](std::span<const Place> places) { require_every_name(all, places); });
  return with_defaults(composite, settings.epsilon);
}

}  // namespace tapescope::explain
