#include "tools/synthesis/scene.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/philox.h"

namespace tapescope::synthesis {
namespace {

constexpr int kClasses = 3;
constexpr std::array<double, 3> kColours[] = {
    {215, 45, 40}, {50, 170, 60}, {50, 80, 215}, {225, 200, 50}, {235, 235, 235}};

// In coordinates of the object, where the circle has radius 1 and every shape the area pi.
bool inside(ShapeKind kind, double u, double v) {
  constexpr double pi = std::numbers::pi;
  if (kind == ShapeKind::circle) return u * u + v * v <= 1;
  if (kind == ShapeKind::square) return std::max(std::fabs(u), std::fabs(v)) <= std::sqrt(pi) / 2;
  // Equilateral: area 3 sqrt(3) r^2 for the inscribed circle's radius r.
  const double r = std::sqrt(pi / (3 * std::sqrt(3.0)));
  const double slant = std::sqrt(3.0) / 2;
  return v <= r && slant * u - v / 2 <= r && -slant * u - v / 2 <= r;
}

// Share of pixel (y, x) that the object covers, from 4 x 4 points.
double coverage(const Object& object, int y, int x) {
  const double cosine = std::cos(object.angle), sine = std::sin(object.angle);
  int hits = 0;
  for (int i = 0; i < 16; ++i) {
    const double dy = y + (i / 4 + 0.5) / 4 - object.y, dx = x + (i % 4 + 0.5) / 4 - object.x;
    const double u = (cosine * dx + sine * dy) / object.radius;
    const double v = (cosine * dy - sine * dx) / object.radius;
    hits += inside(object.kind, u, v) ? 1 : 0;
  }
  return hits / 16.0;
}

// Values at the corners of cells, blended smoothly between them.
class ValueNoise {
 public:
  ValueNoise(PhiloxStream& random, int size, int cells) : size_(size), cells_(cells) {
    for (int i = 0; i < (cells + 1) * (cells + 1); ++i) corners_.push_back(random.uniform());
  }
  double at(int y, int x) const {
    const double r = (y + 0.5) * cells_ / size_, c = (x + 0.5) * cells_ / size_;
    const int i = std::min(static_cast<int>(r), cells_ - 1);
    const int j = std::min(static_cast<int>(c), cells_ - 1);
    const auto smooth = [](double t) { return t * t * (3 - 2 * t); };
    const double fy = smooth(r - i), fx = smooth(c - j);
    return (1 - fy) * ((1 - fx) * corner(i, j) + fx * corner(i, j + 1)) +
           fy * ((1 - fx) * corner(i + 1, j) + fx * corner(i + 1, j + 1));
  }

 private:
  double corner(int i, int j) const {
    return corners_[static_cast<std::size_t>(i * (cells_ + 1) + j)];
  }
  int size_, cells_;
  std::vector<double> corners_;
};

std::array<double, 3> varied(Hue hue, PhiloxStream& random) {
  std::array<double, 3> colour = kColours[static_cast<int>(hue)];
  for (double& c : colour) c = std::clamp(c + 40.0 * (random.uniform() - 0.5), 0.0, 255.0);
  return colour;
}

void draw_ground(const Scene& scene, Image& image) {
  PhiloxStream random(mix(scene.seed, stable_hash("ground")));
  std::array<double, 3> tint{};
  for (double& t : tint) t = 60 + 90.0 * random.uniform();
  const ValueNoise coarse(random, scene.size, 4), fine(random, scene.size, 16);
  const double direction = std::numbers::pi * random.uniform();
  const double wave = 2 * std::numbers::pi / (3 + 6.0 * random.uniform());  // a pixel
  for (int y = 0; y < scene.size; ++y) {
    for (int x = 0; x < scene.size; ++x) {
      const double stripes = std::sin(wave * (std::cos(direction) * x + std::sin(direction) * y));
      const double light = 0.55 + 0.5 * coarse.at(y, x) + 0.35 * fine.at(y, x) + 0.08 * stripes;
      for (int c = 0; c < 3; ++c) {
        const double grain = 10.0 * (random.uniform() - 0.5);
        image.at(y, x)[c] = static_cast<std::uint8_t>(
            std::clamp(std::lround(tint[static_cast<std::size_t>(c)] * light + grain), 0l, 255l));
      }
    }
  }
}

}  // namespace

std::vector<std::string> class_names(Rule rule) {
  return rule == Rule::shape ? std::vector<std::string>{"circle", "square", "triangle"}
                             : std::vector<std::string>{"red", "green", "blue"};
}

std::string describe(Rule rule) {
  return rule == Rule::shape
             ? "The class is the shape of the one red object; every other object has another "
               "colour and says nothing."
             : "The class is the colour of the one circle; every other object is a square or a "
               "triangle and says nothing.";
}

int Scene::label() const {
  const Object& cause = objects.front();
  return rule == Rule::shape ? static_cast<int>(cause.kind) : static_cast<int>(cause.hue);
}

Scene Scene::twin(int label) const {
  Scene other = *this;
  Object& cause = other.objects.front();
  if (rule == Rule::shape) {
    cause.kind = static_cast<ShapeKind>(label);
  } else {
    PhiloxStream random(mix(seed, stable_hash("twin")));
    cause.hue = static_cast<Hue>(label);
    cause.colour = varied(cause.hue, random);
  }
  return other;
}

Scene make_scene(Rule rule, int label, int size, int objects, std::uint64_t seed) {
  Scene scene{rule, size, seed, {}};
  PhiloxStream random(mix(seed, stable_hash("objects")));
  // A triangle reaches furthest from its middle: 1.56 radii.
  constexpr double kReach = 1.56;
  for (int tries = 0; tries < 2000 && static_cast<int>(scene.objects.size()) < objects; ++tries) {
    const bool cause = scene.objects.empty();
    Object object;
    object.radius = size * (0.10 + 0.06 * random.uniform());
    const double margin = kReach * object.radius;
    object.y = margin + (size - 2 * margin) * random.uniform();
    object.x = margin + (size - 2 * margin) * random.uniform();
    object.angle = 2 * std::numbers::pi * random.uniform();
    if (rule == Rule::shape) {
      object.kind = static_cast<ShapeKind>(cause ? static_cast<std::uint32_t>(label)
                                                 : random.below(kClasses));
      object.hue = cause ? Hue::red : static_cast<Hue>(1 + random.below(4));
    } else {
      object.kind = cause ? ShapeKind::circle : static_cast<ShapeKind>(1 + random.below(2));
      object.hue =
          static_cast<Hue>(cause ? static_cast<std::uint32_t>(label) : random.below(kClasses));
    }
    object.colour = varied(object.hue, random);
    const bool touches =
        std::any_of(scene.objects.begin(), scene.objects.end(), [&](const Object& other) {
          return std::hypot(object.y - other.y, object.x - other.x) <
                 kReach * (object.radius + other.radius) * 0.85;
        });
    if (!touches) scene.objects.push_back(object);
  }
  return scene;
}

Image draw(const Scene& scene) {
  Image image(scene.size, scene.size, 3);
  draw_ground(scene, image);
  for (const Object& object : scene.objects) {
    for (int y = 0; y < scene.size; ++y) {
      for (int x = 0; x < scene.size; ++x) {
        const double covered = coverage(object, y, x);
        if (covered == 0) continue;
        for (int c = 0; c < 3; ++c) {
          const double ground = image.at(y, x)[c];
          image.at(y, x)[c] = static_cast<std::uint8_t>(std::lround(
              ground + covered * (object.colour[static_cast<std::size_t>(c)] - ground)));
        }
      }
    }
  }
  return image;
}

Image mask_of(const Object& object, int size) {
  Image mask(size, size, 1);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      if (coverage(object, y, x) >= 0.5) *mask.at(y, x) = 255;
    }
  }
  return mask;
}

Box box_of(const Image& mask) {
  Box box{mask.width, mask.height, 0, 0};
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      if (*mask.at(y, x) == 0) continue;
      box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x + 1),
             std::max(box.bottom, y + 1)};
    }
  }
  return box.right == 0 ? Box{} : box;
}

}  // namespace tapescope::synthesis
