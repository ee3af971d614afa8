"""What training version 2 took for the hash of networks whose code has not changed since.

A row of an earlier database carries the second hash; as long as a network's own is the first, the two are the same
code, and nothing is trained again. A network that changes leaves this table behind: what it scored before is stale.
"""

# network -> (its hash, the hash of the same code up to training version 2)
FORMER_SOURCES: dict[str, tuple[str, str]] = {
    "fcn32s": (
        "ccae2ca6d118a3ed0bd08f5457ebd3b9736d6e0921171e046a9122c39e56b688",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "fcn16s": (
        "0059ce638242bf1f062309dcc7240f9e51ab434505d3190bb94529e6e53fc158",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "fcn8s": (
        "663fc5816c61223aefe3a466beaec1eb140d27647a5e3816566b6d4948593666",
        "3a5a61fdb99ac0c3d80eacab66e122ebf104ba6052eb9b5f909d2b3d19626e1f",
    ),
    "unet": (
        "c7616549fb9560344214b85170cde1127dbb49b9586e01f1d8879f6b8f9daf80",
        "a003531667a0442e0701493ee2c709608a75a79e2102d4ba05a2afd15e3a9ecc",
    ),
    "unet_strided": (
        "82edc2d2dc128a2ad6bbba1c6b7db5cae030736456312abddcdd82efec058c3e",
        "21180414087d5a4ca7f094d2a08f0cdd1855bf2270c4cc5b1ece8cac09b7ee23",
    ),
    "unetpp": (
        "6ff0b9a2468a1873783da20ddf7ddad6a684637e815365d46c3abc001a2b326b",
        "db8eb6e6cf53daf7f3e33fb59da1e3acce07337d4c5b3abfc0b7f0a1fb8be7dc",
    ),
    "segnet": (
        "433cc826407d4f25a8d6dfeb73c26d0de94f752987217ebe3aac0df0b23ae053",
        "8d54f6d2d8bc348a053842b51aa2cd431e45c5437e6bb6ac2b552e727bf05880",
    ),
    "refinenet": (
        "a2f0ae3497dcb6a9ec297bad92b132f755b976a0a4c59124d79d8375b8d33cf8",
        "2d11252d4f2659ee5e556828dd7fc08d2d07feff6c27bbbaaf02e73a0d1d2674",
    ),
    "pspnet": (
        "774f621029ce9ba720939faa6506047f133ec894a7cfbe7cb31577dd99e35685",
        "b3026f91104b9eccd6ec8d64997ca6386ed46d647bdbb8f8cdef907ca20ffa37",
    ),
    "deeplabv3": (
        "40495b2112378409aed92fb1748b7bcdb69131b597b1a0094e571881c33823ff",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
    ),
    "deeplabv3plus": (
        "b1b906b8046fbff0aa6add30821c678f131a743f4dfc7decf60baf97be79688f",
        "7217476f3bc4ec59409e9a9e2e2247404c7c9e731fc27afdfe36c1f2578440be",
    ),
    "bisenet": (
        "1895faf976304b19e1d1ca79f3a651fb66643ace4933551722ae031fd58f0a00",
        "079de750799647eabd932b43c4c6f11da0f84dd90008dc24236b543bd707a0e5",
    ),
    "emanet": (
        "ecbeb203bdf1d2061cd6d31980e32f58cedc57f82f0a3089435c2ebe20915e99",
        "8725a1ecf39baf26227ee58ec078ff4f3e51fc697a5421dc7a15bac69b63f0e7",
    ),
    "segformer": (
        "421f183099db3da173fe7786effa0a16d1b59078d64780f2ba327e94e17fa214",
        "c24eaafce2896729f91fda42b46e7dbc47660609327457ec425a98e76a5de159",
    ),
}
