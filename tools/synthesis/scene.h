// Pictures whose cause is known: several shapes on a textured ground, one of which decides the
// class.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope::synthesis {

enum class Rule : std::uint8_t {
  shape,   // the class is the shape of the one red object; the others have other colours
  colour,  // the class is the colour of the one circle; the others have other shapes
};

// All of the same area at the same size, so that brightness tells nothing of the shape.
enum class ShapeKind : std::uint8_t { circle, square, triangle };
enum class Hue : std::uint8_t { red, green, blue, yellow, white };

struct Box {
  int left = 0, top = 0, right = 0, bottom = 0;  // pixels; right and bottom are one beyond
};

struct Object {
  ShapeKind kind = ShapeKind::circle;
  Hue hue = Hue::red;
  std::array<double, 3> colour{};              // 0..255: the hue, a little changed
  double y = 0, x = 0, radius = 1, angle = 0;  // pixels, of the circle of equal area; radians
};

struct Scene {
  Rule rule = Rule::shape;
  int size = 64;
  std::uint64_t seed = 0;       // of the ground
  std::vector<Object> objects;  // the first is the cause
  int label() const;
  // The same picture in all but the cause, which is of class `label`.
  Scene twin(int label) const;
};

std::vector<std::string> class_names(Rule rule);
// One sentence for people.
std::string describe(Rule rule);

// Everything about the scene is a function of its arguments. `objects` of about an eighth to a
// quarter of `size` in radius, none touching another; fewer where no room is found.
Scene make_scene(Rule rule, int label, int size, int objects, std::uint64_t seed);

// {size,size,3}; edges are smoothed.
Image draw(const Scene& scene);
// {size,size,1}: 255 where an object covers at least half of the pixel.
Image mask_of(const Object& object, int size);
// Of the mask's white pixels; empty (0,0,0,0) where there are none.
Box box_of(const Image& mask);

}  // namespace tapescope::synthesis
