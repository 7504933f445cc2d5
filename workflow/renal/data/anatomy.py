"""The anatomy of a phantom: what lies where in one patient's abdomen, and its attenuation.

Anatomy is a list of solids, to be painted one over the other: each is a signed distance (mm,
negative inside) with an attenuation.

Points are (z, y, x) in mm towards patient Inferior, Posterior, Left. The origin lies at the level
of the kidneys, in the midline, 40 mm in front of the middle of the spine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import ndimage

from renal.errors import InputError
from renal.image.boxes import three

Points = Sequence[np.ndarray]  # z (n, 1, 1), y (1, n, 1) and x (1, 1, n), in mm, ascending
Distance = Callable[[Points], np.ndarray]
Corner = tuple[float, float, float]
EVERYWHERE = (math.inf, math.inf, math.inf)
SPINE_Y = 40.0
FAT = -100.0


@dataclass(frozen=True)
class Solid:
    """A signed distance and what fills it: HU, its texture's amplitude (HU), and a tissue.

    `centre` and `reach` bound the solid, so that only its neighbourhood is computed. The tissue is
    parenchyma, tumour or cyst, or empty for what is outside of the kidneys.
    """

    distance: Distance
    hu: float
    grain: float = 0.0
    centre: Corner = (0.0, 0.0, 0.0)
    reach: Corner = EVERYWHERE
    tissue: str = ""


class Field:
    """Smooth random values (zero mean, unit variance, within 2.5) in space, by interpolation."""

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self.origin = (-140.0, -260.0, -260.0)
        self.step = scale / 1.5
        shape = [int(-2 * start / self.step) + 2 for start in self.origin]
        noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.5)
        self.values: np.ndarray = np.clip(noise / float(noise.std()), -2.5, 2.5)

    def __call__(self, points: Points) -> np.ndarray:
        values: np.ndarray = self.values
        for axis, (coordinate, start) in enumerate(zip(points, self.origin, strict=True)):
            position = np.clip((coordinate - start) / self.step, 0, self.values.shape[axis] - 1.01)
            index = position.astype(np.intp)
            weight = position - index.astype(np.float32)
            before, after = (np.take(values, index.ravel() + step, axis) for step in (0, 1))
            values = before + weight * (after - before)
        return values


def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance to what two solids share."""
    shared: np.ndarray = np.maximum(first, second)
    return shared


def ellipsoid_distance(offsets: Points, radii: Sequence[float]) -> np.ndarray:
    """Distance to an ellipsoid, to first order; two offsets make an elliptic cylinder."""
    value = np.sqrt(sum((o / r) ** 2 for o, r in zip(offsets, radii, strict=True)))
    slope = np.sqrt(sum((o / r**2) ** 2 for o, r in zip(offsets, radii, strict=True)))
    return (value - 1) * np.maximum(value, 1e-3) / np.maximum(slope, 1e-5)


def ellipsoid(
    centre: Corner,
    radii: Corner,
    hu: float,
    grain: float = 0.0,
    *,
    within: Distance | None = None,
    wobble: Field | None = None,
    lobe: float = 0.0,
    tissue: str = "",
) -> Solid:
    """An ellipsoid, its surface moved by `lobe` mm of `wobble`, cut to the solid `within`."""

    def distance(points: Points) -> np.ndarray:
        result = ellipsoid_distance([p - c for p, c in zip(points, centre, strict=True)], radii)
        if wobble is not None:
            result = result + lobe * wobble(points)
        return result if within is None else both(result, within(points))

    reach = three(1.1 * r + 3 * lobe + 3 for r in radii)
    return Solid(distance, hu, grain, centre, reach, tissue)


def tube(
    path: np.ndarray,
    radii: float | np.ndarray,
    hu: float,
    grain: float = 0.0,
    fluid_level: float = math.inf,
) -> list[Solid]:
    """Capsules along a path (n, 3), as far as they lie in front of `fluid_level` (y in mm)."""
    radius = np.broadcast_to(radii, len(path)).tolist()
    solids = []
    for k, (start, end) in enumerate(zip(path[:-1].tolist(), path[1:].tolist(), strict=True)):

        def distance(
            points: Points, k: int = k, start: list[float] = start, end: list[float] = end
        ) -> np.ndarray:
            along = [b - a for a, b in zip(start, end, strict=True)]
            offsets = [p - a for p, a in zip(points, start, strict=True)]
            share = sum(o * a for o, a in zip(offsets, along, strict=True))
            share = np.clip(share / (sum(a * a for a in along) + 1e-6), 0, 1)
            squares = ((o - share * a) ** 2 for o, a in zip(offsets, along, strict=True))
            result = np.sqrt(sum(squares)) - (radius[k] + share * (radius[k + 1] - radius[k]))
            return both(result, points[1] - fluid_level)

        centre = three((a + b) / 2 for a, b in zip(start, end, strict=True))
        margin = max(radius[k], radius[k + 1]) + 3
        reach = three(abs(b - a) / 2 + margin for a, b in zip(start, end, strict=True))
        solids.append(Solid(distance, hu, grain, centre, reach))
    return solids


class Patient:
    """The build of one patient, and the random fields that make its surfaces irregular."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.fat, self.wall = rng.uniform(9, 28), rng.uniform(9, 13)
        self.half_width, self.front = rng.uniform(122, 140), rng.uniform(76, 100)
        self.waist = rng.uniform(0.0, 0.05)
        self.texture, self.lobes, self.wobble = Field(rng, 4), Field(rng, 9), Field(rng, 18)
        self.branches = Field(rng, 9)

    def outline(self, points: Points, side: float, front: float, back: float) -> np.ndarray:
        """Distance to the cavity's outline, grown by so much at the side, front and back."""
        z, y, x = points
        scale = 1 + self.waist * np.cos((z + 60) / 50)
        dent = 5 * np.exp(-((x / 18) ** 2)) * (y > 0)
        radius_y = np.where(y < 0, self.front + front, SPINE_Y + 36 + back).astype(np.float32)
        across, deep = x * scale / (self.half_width + side), (y + dent) / radius_y
        value = across**2 * np.sqrt(np.abs(across)) + deep**2 * np.sqrt(np.abs(deep))
        slope_x = np.abs(across) ** 1.5 / (self.half_width + side)
        slope_y = np.abs(deep) * np.sqrt(np.abs(deep)) / radius_y
        distance: np.ndarray = (value - 1) / (2.5 * np.sqrt(slope_x**2 + slope_y**2) + 1e-5)
        return distance

    def cavity(self, points: Points, margin: float = 0.0) -> np.ndarray:
        """Distance to the abdominal cavity, `margin` mm inside its wall."""
        return self.outline(points, -margin, -margin, -margin)

    def vessels(self, points: Points, radius: float) -> np.ndarray:
        """Distance to winding tubes: the lines in which two random fields both vanish."""
        distance: np.ndarray = 13 * np.hypot(self.lobes(points), self.branches(points)) - radius
        return distance


def body(patient: Patient) -> list[Solid]:
    """Table, skin, fat, muscle wall and the fat-filled cavity with its small vessels."""
    fat, wall = patient.fat, patient.wall
    table_y = SPINE_Y + 36 + 30 + fat - 14

    def table(points: Points) -> np.ndarray:
        _, y, x = points
        arc = np.abs(np.hypot(x, y - table_y + 480) - 500) - 2
        return both(arc, np.abs(x) - 200)

    def muscle_layers(points: Points) -> np.ndarray:
        middle = np.abs(patient.outline(points, wall / 2, wall / 2, 15))
        broken = 0.5 * patient.wobble(points)
        return both(np.abs(middle - wall / 6) - 0.2 - broken, 75 - np.abs(points[2]))

    def mesentery(points: Points) -> np.ndarray:
        return both(patient.vessels(points, 1.6), patient.cavity(points, 8))

    def outline(side: float, front: float, back: float) -> Distance:
        return partial(patient.outline, side=side, front=front, back=back)

    skin = (wall + fat, wall + 0.8 * fat, 30 + fat)
    return [
        Solid(table, -90),
        Solid(outline(*skin), 10),
        Solid(outline(*(s - 2 for s in skin)), FAT - 5, 6),
        Solid(outline(wall, wall, 30), 58, 8),
        Solid(muscle_layers, 5),
        Solid(patient.cavity, FAT, 8),
        Solid(mesentery, 70, 0, (20, -30, 0), (120, 55, 90)),
    ]


def upper_organs(patient: Patient, rng: np.random.Generator) -> list[Solid]:
    """Liver, gallbladder, spleen, stomach, pancreas, and the lung bases round the diaphragm."""
    width, front = patient.half_width, patient.front
    inside = partial(patient.cavity, margin=3)
    organ = partial(ellipsoid, within=inside, wobble=patient.wobble, lobe=4)
    tip = rng.uniform(25, 50)

    def before_kidney(points: Points) -> np.ndarray:
        z, y, x = points
        plane = 0.5 * (y - 10) + 0.7 * (x + 78) + 0.5 * (z + 15) + 6 * patient.wobble(points)
        return both(inside(points), plane)

    def branches(points: Points, liver: Solid) -> np.ndarray:
        return both(patient.vessels(points, 3), liver.distance(points) + 6)

    def stomach_gas(points: Points) -> np.ndarray:
        return both(contents.distance(points), points[1] - fluid_level)

    def lung(points: Points, inset: float = 0.0) -> np.ndarray:
        z, y, _ = points
        depth = 0.0075 * np.minimum(z + 42, 0) ** 2 * (1 + 0.01 * y)
        wall = inside(points)
        return both(wall, -wall - depth) + inset

    def lung_vessels(points: Points) -> np.ndarray:
        return both(patient.vessels(points, 1.5), lung(points, 4))

    right = organ(
        (tip - 95, -0.1 * front, -0.5 * width),
        (95, 86, 0.54 * width),
        rng.uniform(85, 125),
        6,
        within=before_kidney,
    )
    left = organ((-62, -0.58 * front, -0.05 * width), (55, 38, 0.5 * width), right.hu, 6)
    spleen = organ((-66, 24, 0.74 * width), (58, 42, 27), rng.uniform(105, 150), 6)
    gallbladder = organ((tip - 22, -0.55 * front, -0.42 * width), (26, 15, 15), 8, lobe=1)
    stomach = organ((-66, -0.36 * front, 0.40 * width), (70, 39, 46), 75, 8)
    contents = organ(stomach.centre, (67, 36, 43), rng.uniform(15, 35), 12)
    fluid_level = stomach.centre[1] + rng.uniform(-18, 4)
    pancreas = np.array([[8, -2, -34], [4, -12, -22], [-8, -14, 5], [-18, -2, 38], [-28, 8, 70]])
    solids = [stomach, contents, replace(contents, distance=stomach_gas, hu=-950), right, left]
    for lobe in (right, left):
        solids.append(replace(lobe, distance=partial(branches, liver=lobe), hu=lobe.hu + 45))
    solids += [spleen, gallbladder, *tube(pancreas, np.array([11, 9, 7, 8, 6]), 95, 25)]
    return [*solids, Solid(lung, -860, 25), Solid(lung_vessels, 10)]


def bowel(patient: Patient, rng: np.random.Generator) -> list[Solid]:
    """Small bowel loops and the colon: walls, then contents, then gas above a fluid level."""
    width, front = patient.half_width, patient.front
    steps = np.linspace(0, 1, 15)
    # Path, radius, HU of the contents, and the level above which they are gas.
    loops: list[tuple[np.ndarray, float | np.ndarray, float, float]] = []
    for centre in rng.uniform((15, 34 - front, -80), (125, 0, 85), (17, 3)):
        phase, turns = rng.uniform(0, 6.3, 3), rng.uniform(4, 9, 3)
        swing = np.sin(steps[:, None] * turns + phase) * (20, 13, 28)
        path = centre + swing
        loops.append((path, rng.uniform(8.5, 12), 25, path[:, 1].min() + rng.uniform(-16, 6)))
    flank = width - 30
    # From the ascending colon over the right flexure, across and down again on the left.
    z = [115, 70, 35, 28, 38, 48, 35, 5, 8, 70, 115]
    y = [8, 14, 2, -40, 26 - front, 24 - front, 26 - front, -34, 14, 22, 12]
    x = [-flank, -flank, 8 - flank, 4 - flank, -50, 0, 50, flank, flank + 6, flank + 6, flank]
    places = np.linspace(0, len(z) - 1, 56)
    colon = np.stack([np.interp(places, range(len(z)), column) for column in (z, y, x)], axis=1)
    haustra = np.interp(places, [0, 6, 10], [20, 15, 11]) * (1 + 0.16 * np.sin(places * 9))
    for part in (slice(0, 19), slice(18, 39), slice(38, 56)):
        level = float(np.median(colon[part, 1])) + rng.uniform(-9, 4)
        loops.append((colon[part], haustra[part], 40, level))
    solids = []
    for path, radius, _, _ in loops:
        solids += tube(path, radius, 75, 15)
    for path, radius, contents, _ in loops:
        solids += tube(path, radius - 2.5, contents, 22)
    for path, radius, _, level in loops:
        solids += tube(path, radius - 2.5, -900, 40, level)
    return solids


def muscles() -> list[Solid]:
    """Psoas, quadratus lumborum and the muscles of the back, with fat between them."""
    y = SPINE_Y

    def sheet(
        points: Points, centre: tuple[float, float], radii: tuple[float, float]
    ) -> np.ndarray:
        return ellipsoid_distance([points[1] - centre[0], np.abs(points[2]) - centre[1]], radii)

    def psoas(points: Points) -> np.ndarray:
        growth = np.clip((points[0] + 45) / 130, 0.05, 1)
        offsets = [points[1] - y - 4, np.abs(points[2]) - 24 - 16 * growth]
        value = np.hypot(offsets[0] / (6 + 17 * growth), offsets[1] / (5 + 15 * growth))
        return (value - 1) * (5 + 15 * growth)

    return [
        Solid(partial(sheet, centre=(y + 45, 33), radii=(24, 31)), -60, 30),
        Solid(partial(sheet, centre=(y + 45, 31), radii=(22, 28)), 58, 14),
        Solid(partial(sheet, centre=(y + 28, 66), radii=(7, 20)), 58, 8),
        Solid(psoas, 60, 7, (40, y, 0), (90, 40, 70)),
    ]


def skeleton(patient: Patient, rng: np.random.Generator) -> list[Solid]:
    """Vertebrae with cortex and spongiosa, discs, canal, posterior elements and ribs."""
    height, first = rng.uniform(34, 38), rng.uniform(0, 36)
    y = SPINE_Y

    def level(z: np.ndarray) -> np.ndarray:
        return (z - first) - height * np.round((z - first) / height)

    def column(points: Points, grow: float, half: float) -> np.ndarray:
        z, flare = points[0], 1 + 0.07 * np.cos(2 * math.pi * (level(points[0]) / height + 0.5))
        offsets = [(points[1] - y) / flare, points[2] / flare]
        notch = 9 - np.hypot(points[1] - y - 24, points[2])
        side = both(ellipsoid_distance(offsets, [16.5 + grow, 22 + grow]), notch + grow)
        return both(side, np.abs(level(z)) - half)

    def arch(points: Points) -> np.ndarray:
        offsets = [points[1] - y - 24, points[2]]
        outer = ellipsoid_distance(offsets, [12.5, 15.5])
        return both(outer, np.abs(level(points[0]) - 2) - 11)

    def canal(points: Points) -> np.ndarray:
        return ellipsoid_distance([points[1] - y - 24, points[2]], [8.5, 11])

    def ribs(points: Points, grow: float) -> np.ndarray:
        z, back, x = points
        fall = z - 0.55 * (y - back) + 0.1 * np.abs(x) - first
        fall = fall - 32 * np.round(fall / 32)
        depth = patient.outline(points, 4, 4, 12)
        shaft = ellipsoid_distance([depth, fall], [3.6 + grow, 6 + grow])
        lowest = z - 30 + 0.75 * np.maximum(y - back, 0)
        return both(both(shaft, 34 - np.abs(x)), lowest)

    near, reach = (0, y + 10, 0), (math.inf, 45, 48)
    processes = []
    for k in range(-5, 5):
        z = first + k * height
        spine = np.array([[z + 2, y + 36, 0], [z + 10, y + 48, 0], [z + 14, y + 60, 0]])
        processes += tube(spine, 3.2, 420, 40)
        for side in (-1, 1):
            wing = np.array([[z - 2, y + 20, side * 13], [z - 2, y + 27, side * 38]])
            joint = np.array([[z + 12, y + 33, side * 13], [z + 22, y + 30, side * 16]])
            processes += tube(wing, np.array([4, 2.6]), 330, 40) + tube(joint, 4.2, 330, 60)
    return [
        Solid(partial(column, grow=1, half=math.inf), 90, 5, near, reach),
        Solid(partial(column, grow=0, half=height / 2 - 4), 430, 40, near, reach),
        Solid(partial(column, grow=-1.8, half=height / 2 - 5.5), 180, 35, near, reach),
        *processes,
        Solid(arch, 430, 60, near, reach),
        Solid(canal, -10, 10, near, reach),
        ellipsoid((0, y + 24, 0), (400, 6, 8), 30, 3),
        Solid(partial(ribs, grow=0), 560, 40, (-60, 0, 0), (95, 300, 300)),
        Solid(partial(ribs, grow=-1.8), 230, 30, (-60, 0, 0), (95, 300, 300)),
    ]


def vessels(kidneys: list["Kidney"], rng: np.random.Generator) -> list[Solid]:
    """Aorta, vena cava, mesenteric vessels, and an artery, a vein and a pelvis to each kidney."""
    y, arterial, venous = SPINE_Y - 30, rng.uniform(210, 330), rng.uniform(100, 160)
    aorta = np.array([[-140, y + 2, 6], [0, y, 8], [84, y + 4, 6]])
    cava = np.array([[-140, y - 8, -26], [-40, y + 3, -21], [90, y + 8, -17]])
    solids = tube(np.array([[-140, y + 9, 9], [20, y + 12, 9]]), np.array([15, 9]), 60, 8)
    for side in (-1, 1):
        iliac = np.array([[80, y + 4, 6], [140, y + 14, 8 + side * 28]])
        solids += tube(iliac, 6.5, arterial)
    for kidney in kidneys:
        hilum = np.array(kidney.centre) + 12 * kidney.axes[1]
        artery, vein = (aorta[1] - (8, 0, 0), 3, arterial - 20), (cava[1] + (36, -4, 0), 5, venous)
        for start, radius, hu in (artery, vein):
            middle = (start + hilum) / 2 - (0, 7, 0)
            solids += tube(np.stack([start, middle, hilum - (0, 2, 0)]), radius, hu)
        ureter = hilum + np.array([(0, 0, 0), (12, 2, 0), (45, -4, 0), (140, -8, 0)])
        ureter[1:, 2] = np.sign(hilum[2]) * np.array([abs(hilum[2]) - 12, 40, 36])
        solids += tube(ureter, np.array([8, 4, 2, 2]), 12)
    mesenteric = np.array([[-10, y, 7], [0, y - 24, 5], [60, y - 34, -2], [100, y - 36, -6]])
    solids += tube(mesenteric, np.array([4, 4, 3.5, 2]), arterial - 10)
    solids += tube(mesenteric[1:] - (0, 0, 14), 5, venous + 10)
    return [*solids, *tube(cava, 10.5, venous, 8), *tube(aorta, 10.5, arterial, 5)]


class Kidney:
    """One kidney: a bean about a hollow sinus, in its own long, hilum and thickness axes."""

    def __init__(self, patient: Patient, rng: np.random.Generator, side: int) -> None:
        self.patient = patient
        level, depth, aside = rng.normal(-5 * side, 5), rng.uniform(4, 12), rng.uniform(62, 70)
        self.centre = (level, SPINE_Y - depth, side * aside)
        self.radii = (rng.uniform(50, 61), rng.uniform(28, 33), rng.uniform(24, 29))
        turn = rng.uniform(0.3, 0.8)
        long = np.array([1, -rng.uniform(0.05, 0.25), side * rng.uniform(0.12, 0.3)])
        long /= np.linalg.norm(long)
        hilum = np.array([0, -math.sin(turn), -side * math.cos(turn)])
        hilum -= (hilum @ long) * long
        hilum /= np.linalg.norm(hilum)
        self.axes = np.stack([long, hilum, np.cross(long, hilum)])
        self.pyramids, self.fat = rng.integers(7, 10), rng.uniform(3, 8)

    def local(self, points: Points) -> list[np.ndarray]:
        """Points in the kidney's axes; bent, so that the poles turn towards the hilum."""
        offsets = [p - c for p, c in zip(points, self.centre, strict=True)]
        long, hilum, thick = (
            sum(o * a for o, a in zip(offsets, axis, strict=True)) for axis in self.axes.tolist()
        )
        return [long, hilum - 6 * ((long / self.radii[0]) ** 2 - 0.3), thick]

    def outer(self, points: Points) -> np.ndarray:
        """The smooth outline, over the hilum too."""
        smooth = ellipsoid_distance(self.local(points), self.radii)
        distance: np.ndarray = smooth + self.patient.lobes(points)
        return distance

    def sinus(self, points: Points) -> np.ndarray:
        """The hollow, open at the hilum, that holds fat, vessels and the pelvis."""
        long, hilum, thick = self.local(points)
        radii = (0.52 * self.radii[0], 0.66 * self.radii[1], 0.4 * self.radii[2])
        offsets = (long, hilum - 0.5 * self.radii[1], thick)
        return ellipsoid_distance(offsets, radii) + 1.5 * self.patient.lobes(points)

    def parenchyma(self, points: Points) -> np.ndarray:
        """What is labelled as kidney: the outline less the sinus."""
        return both(self.outer(points), -self.sinus(points))

    def medulla(self, points: Points) -> np.ndarray:
        """Pyramids: a fan about the sinus, parted by columns and under the cortex."""
        long, hilum, thick = self.local(points)
        up, out = 0.5 * long, hilum - 0.3 * self.radii[1]
        fan = np.hypot(up, out) * (0.2 + 0.4 * np.cos(self.pyramids * np.arctan2(out, up)))
        uneven = 3 * self.patient.lobes(points)
        between = 0.25 * hilum + 1 - np.abs(thick + 2 * uneven)
        columns = both(between, uneven - fan)
        within = both(self.outer(points) + 6.5, 1.5 - self.sinus(points))
        return both(within, columns)

    def halo(self, points: Points) -> np.ndarray:
        """Perirenal fat, which pushes other organs aside."""
        far = self.outer(points) - self.fat - 2 * self.patient.wobble(points)
        return both(far, self.patient.cavity(points, 2))

    def solids(self, cortex: float, medulla: float) -> list[Solid]:
        """Cortex and medulla with their HU."""
        bounds = (self.centre, (75, 48, 48))
        return [
            Solid(self.parenchyma, cortex, 6, *bounds, tissue="parenchyma"),
            Solid(self.medulla, medulla, 6, *bounds),
        ]

    def surface(self, rng: np.random.Generator, radius: float, bulge: float) -> Corner:
        """A place for a lesion that bulges from the kidney by `bulge` radii, off the hilum."""
        direction = rng.normal(size=3)
        direction[1] = -abs(direction[1])
        direction /= np.linalg.norm(direction)
        local = direction * np.array(self.radii)
        local += direction * radius * (bulge - 1)
        return tuple((np.array(self.centre) + local @ self.axes).tolist())


def lesions(
    kidneys: list[Kidney],
    patient: Patient,
    rng: np.random.Generator,
    tumours: int,
    cysts: int | None,
    brightest: float,
) -> list[Solid]:
    """Cysts and tumours on the kidneys, clear of the body wall, the spine and each other."""
    placed: list[tuple[np.ndarray, float]] = []

    def place(radius: float, bulge: tuple[float, float]) -> tuple[Corner, float] | None:
        for _ in range(500):
            kidney = kidneys[rng.integers(len(kidneys))]
            centre = kidney.surface(rng, radius, rng.uniform(*bulge))
            at, reach = np.array(centre), 1.15 * radius
            wall = patient.cavity([np.full((1, 1, 1), c, np.float32) for c in centre])
            clear = all(np.linalg.norm(at - c) > reach + r + 8 for c, r in placed)
            off_spine = math.hypot(at[2], at[1] - SPINE_Y + 5) > reach + 30
            if clear and off_spine and wall < -reach - 3 and abs(at[0]) + reach < 95:
                placed.append((at, reach))
                return centre, radius
            radius = max(0.97 * radius, min(radius, 8.0))  # there may be room for a smaller one
        return None

    def tumour() -> list[Solid]:
        largest = 35 if tumours == 1 else 22  # leaves room for the second on the same kidney
        spot = place(float(np.clip(rng.lognormal(math.log(20), 0.36), 8, largest)), (0.5, 1.35))
        if spot is None:
            raise InputError("found no room for a tumour: take another seed")
        centre, radius = spot
        radii = tuple((radius * rng.uniform(0.9, 1.1, 3)).tolist())
        hu = min(rng.uniform(60, 130), brightest)
        mass = ellipsoid(
            centre, radii, hu, 14, wobble=patient.lobes, lobe=0.09 * radius, tissue="tumour"
        )
        depth = radius * rng.uniform(0.35, 0.6)

        def core(points: Points) -> np.ndarray:
            return mass.distance(points) + depth + 0.2 * radius * patient.lobes(points)

        necrosis = Solid(core, rng.uniform(12, 30), 6, centre, radii)
        return [mass, necrosis] if radius > 20 else [mass]

    masses = [solid for _ in range(tumours) for solid in tumour()]
    found = []
    radii = (5, 7, 22) if cysts is None else (14, 18, 26)  # what is asked for can be learned
    for _ in range(rng.poisson(0.8) if cysts is None else cysts):
        if spot := place(rng.triangular(*radii), (0.3, 1.4)):
            found.append(ellipsoid(spot[0], (spot[1],) * 3, rng.uniform(0, 20), tissue="cyst"))
    return found + masses


def anatomy(
    patient: Patient, rng: np.random.Generator, tumours: int, count: int, cysts: int | None
) -> list[Solid]:
    """All solids of one patient, in the order of painting."""
    sides = [-1, 1] if count == 2 else [int(rng.choice([-1, 1]))]
    kidneys = [Kidney(patient, rng, side) for side in sides]
    cortex = rng.uniform(165, 215)
    medulla = cortex * rng.uniform(0.5, 0.8)
    solids = body(patient) + upper_organs(patient, rng) + bowel(patient, rng)
    found = lesions(kidneys, patient, rng, tumours, cysts, cortex - 45)
    for kidney in kidneys:
        solids.append(Solid(kidney.halo, FAT - 3, 6, kidney.centre, (95, 70, 70)))
    for solid in found:
        rim = partial(lambda points, inner: inner(points) - 4, inner=solid.distance)
        reach = three(r + 4 for r in solid.reach)
        solids.append(Solid(rim, FAT - 3, 6, solid.centre, reach))
    solids += muscles() + vessels(kidneys, rng) + skeleton(patient, rng)
    for kidney in kidneys:
        solids += kidney.solids(cortex, medulla)
    return solids + found
