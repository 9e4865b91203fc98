// The explanation methods: what each is, costs, needs and cannot see, and what computes it.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "autograd/explain/composite_by_name.h"

namespace tapescope::explain {

struct Attribution;
struct Recording;
struct Request;

// What else is asked about a method.
enum Flag : unsigned {
  kUnstated = 0,
  kPlain = 1u << 0,    // none of those below
  kAtLayer = 1u << 1,  // looks at a node, ExplainOptions::layer
  // A map of how strongly the target answers to each input, whose sign says in which direction the
  // input would have to change and not whether it speaks for the target: judge it by its size.
  kSensitivity = 1u << 2,
  kOneBaseline = 1u << 3,       // takes the first of the baselines it is given
  kMeanOfBaselines = 1u << 4,   // the mean over all of them
  kSeveralBaselines = 1u << 5,  // the same, and is meant to be given several
  kTakesBaselines = kOneBaseline | kMeanOfBaselines | kSeveralBaselines,
  // Rules that pass on what positive parts take: every input gets the target's sign.
  kSignOfTarget = 1u << 6,
  kOfBoxes = 1u << 7,  // explains a detector's boxes
};
constexpr Flag operator|(Flag a, Flag b) { return Flag(unsigned{a} | unsigned{b}); }

using AppendMap = Var (*)(Recording&);                    // a map as nodes behind the model's
using MakeComposite = Composite (*)(const LrpSettings&);  // rules for the walk of relevance
using Answer = Attribution (*)(const Request&);           // whatever else it takes
enum class Elsewhere : unsigned char { tools };           // not computed by an Explainer

// A row of the tables in methods.cpp, where nothing may be left out.
struct Method {
  std::string_view name;
  struct About {
    std::string_view paper;     // may be empty
    std::string_view cost;      // in forward passes; an input gradient costs one beside its forward
    std::string_view needs;     // of the model or of the options; may be empty
    std::string_view blind_to;  // what its map does not show
  } about;
  Flag flags = kUnstated;
  std::variant<std::monostate, AppendMap, MakeComposite, Answer, Elsewhere> run = {};

  bool has(Flag flag) const { return (flags & flag) != 0; }
};

// Those that give a map of a picture, or of a node's units.
std::span<const Method> all_methods();
// Maps that need something of their own: rules by name, or a detector's boxes.
std::span<const Method> particular_methods();
// Those that answer otherwise: with examples, concepts, or pictures of their own.
std::span<const Method> other_methods();
// Of all_methods() and particular_methods(); null where there is no such method.
const Method* find_method(std::string_view name);
// The rules of a method that is one walk of relevance; empty where it is none, or unknown.
std::optional<Composite> composite_of(std::string_view method, const LrpSettings& settings = {});

}  // namespace tapescope::explain
