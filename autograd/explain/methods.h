// The explanation methods: what each is, costs, needs and cannot see.
#pragma once

#include <span>
#include <string_view>

namespace tapescope::explain {

// What a method makes of the baselines it is given.
enum class Baselines : unsigned char { none, first, mean_over_all };

struct MethodInfo {
  std::string_view name;
  std::string_view paper;
  std::string_view cost;      // in forward passes; an input gradient costs one beside its forward
  std::string_view needs;     // of the model or of the options
  std::string_view blind_to;  // what its map does not show
  bool at_layer = false;      // looks at a node, ExplainOptions::layer
  // A map of how strongly the target answers to each input, whose sign says in which direction the
  // input would have to change and not whether it speaks for the target: judge it by its size.
  bool is_sensitivity = false;
  Baselines baselines = Baselines::none;
};

// Those that give a map of a picture, or of a node's units.
std::span<const MethodInfo> all_methods();
// Maps that need something of their own: rules by name, or a detector's boxes.
std::span<const MethodInfo> particular_methods();
// Those that answer otherwise: with examples, concepts, or pictures of their own.
std::span<const MethodInfo> other_methods();
// Of all_methods() and particular_methods(); null where there is no such method.
const MethodInfo* find_method(std::string_view name);

}  // namespace tapescope::explain
