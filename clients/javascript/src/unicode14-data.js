/**
 * Unicode 14.0, made by scripts/make_unicode14.py: do not edit.
 *
 * CLASSES: run lengths (none = 1) and class letters from U+0000 to U+10FFFF.
 * LOWER: runs of code points that have a lower case, each "gap,step,count,difference" in base 36: the first is `gap`
 * after the last one of the run before, there are `count` of them, every `step`-th, and lower case is `difference`
 * away. U+0130 is not among them: it becomes two code points.
 */

export const CLASSES =
  "9x5s18xs3py6py4p10d2p3y2p26u3pypy26lpypy6xs26xsp5yp2yopyf4y2nyl2pynop3np23uy7u24ly8lulululululululululululululul" +
  "ulululululululululululululu2lulululululululu2lululululululululululululululululululululululul2ululu3l2ulul2ul3u2l" +
  "4ul2ul3u3l2ul2ululul2ulu2lul2ul3ulul2u2lou3l4o2ul2ul2ululululululululu2lululululululululu2l2ulul3ulululululululu" +
  "lulululululululululululululululululululululu7l2ul2u2lul4ululululu69lo27l18o4y12o14y5o7yoyo17y112mululoyul2xo3lpu" +
  "4x2yup3uxux2ul17ux9u35lu2l3u3lulululululululululululu5lulyul2u2l51u48lulululululululululululululululululy7mululu" +
  "lulululululululululululululululululululululululul2ululululululu2lulululululululululululululululululululululululu" +
  "lululululululululululululululululululululululululx38u2xo6p41l2p2x3yx45mpmp2mp2mpm8x27o4x4o2p11x6f3y2py2p2y11mpf3" +
  "p43o21m10d4p2om99opo7mfy6m2o2my4m2o10d3o2yo14pxfom30o27m2x89o11mo14x10d33o9m2oy3po2xm2y22o4mo9mo3mo5m2x15px25o3m" +
  "2xpx11o5x24oy6ox2f6x8m42o24mf33m54o3mo18mo7m10o2m2p10dp16o3mx8o2x2o2x22ox7oxo3x4o2xmo7m2x2m2x3mo8xm4x2ox3o2m2x10" +
  "d2o2y6n2yopm2x3mx6o4x2o2x22ox7ox2ox2ox2o2xmx5m4x2m2x3m3xm7x4oxo7x10d2m3omp10x3mx9ox3ox22ox7ox2ox5o2xmo8mx3mx3m2x" +
  "o15x2o2m2x10dpy7xo6mx3mx8o2x2o2x22ox7ox2ox5o2xmo7m2x2m2x3m7x3m4x2ox3o2m2x10dyo6n10xmox6o3x3ox4o3x2oxox2o3x2o3x3o" +
  "3x12o4x5m3x3mx4m2xo6xm14x10d3n8y5x5m8ox3ox23ox16o2xmo7mx3mx4m7x2mx3o2xo2x2o2m2x10d7xp7nyo3mp8ox3ox23ox10ox5o2xmo" +
  "7mx3mx4m7x2m6x2ox2o2m2x10dx2o13x4m9ox3ox41o2mo7mx3mx4moy4x3om7n3o2m2x10d9ny6ox3mx18o3x24ox9oxo2x7o3xm4x6mxmx8m6x" +
  "10d2x2mp12x48om2o7m4xy7o8mp10d2p37x2oxox5ox24oxox10om2o9mo2x5oxox6m2x10d2x4o32xo3y15pyp3y2m6y10d10nymymym4p2m8ox" +
  "36o4x20mp2m5o11mx36mx8ym6yx2y5p4y2p37x43o20mo10d6p6o4m4o3mo3m2o7m3o4m13o12mom10d4m2y38uxu5xu2x43lpo3l329ox4o2x7o" +
  "xox4o2x41ox4o2x33ox4o2x7oxox4o2x15ox57ox4o2x67o2x3m9p20n3x16o10y6x86u2x6l2xp620oyp17os26o2p3x75o3p3n8o7x18o4m9x1" +
  "9o3m2p9x18o2m12x13ox3ox2m12x52o32m3po3pyom2x10d6x10n6x11p3mfm10d6x89o7x5o2m34omo5x70o10x31ox12m4x12m4xy3x2p10d30" +
  "o2x5o11x44o4x26o6x10dn3x34y23o5m2x2p53o10mx29m2xm10d6x10d6x7po6p2x31m49x5m47o17m8o3x10d7p10y9m9y2px3m30o13m2o10d" +
  "44o14m8x4p36o20m3x5p10d3x3o10d36o2p9l7x43u2x3u8p8x3mp21m4om6om2o3mo5x44l63o13lo34l37o64mulululululululululululul" +
  "ulululululululululululululululululululululululululululululululululululululululululululululululululululululululul" +
  "ululululululu9lululululululululululululululululululululululululululululululululululululululululululululululululu" +
  "9l8u6l2x6u2x8l8u8l8u6l2x6u2x8lxuxuxuxu8l8u14l2x8l8u8l8u8l8u5lx2l5uyl3y3lx2l5u3y4l2x2l4ux3y8l5u3y2x3lx2l5u2yx11s5" +
  "f24p2s5fs20py13py12ps5fx10fno2x6n3y2po10n3y2px13o3x33y15x33m15x2yu4yu2yl3u2l3ulyu3y5u6yuyuyuy4uyl4ul4ol2y2l2u5yu" +
  "4l4yly51nul5n2y4x376y4p29y2p252y25x11y21x60n78y22n616y14p30n49y2p31y10p403y22p63y4p32y2p374y2x32yx105y48u48lul3u" +
  "2lululul4ulu2lu6l2o3ulululululululululululululululululululululululululululululululululululululululululululululul" +
  "ulululu2l6yulul3mul5x4pn2p38lxl5xl2x56o7xop14xm23o9x7ox7ox7ox7ox7ox7ox7ox7ox32m47po32p2y12p34x26yx89y12x214y26x1" +
  "2y4xs3py2on10p2y12py9n6mp5o2y3n2op2yx86o2x2m2y3op90op4o5x43ox94ox2y4n10y32o36y12x16o31yx10n30y8ny15n32y10n39y15n" +
  "320y6592o64y22157o3x55y9x46o2p269o3p16o10d2o20xulululululululululululululululululululululululo4mp10mpoululululul" +
  "ululululululululul2o2m70o10n2m6p8x23y9o2yululululululu3lulululululululululululululululululululululululululululul" +
  "ulululo8lulul2ulululululo2yululoulu3lulululululululululul5ul5ulululululululul4ulul5xulxlxlulul24x3oul3ol7om3om4o" +
  "m23o5m4ym3x6n4y6x52o4p8x2m50o18m8x2p10d6x18m6o3pop2om10d28o8m2p23o13m11xp29o3x4m47o14m13pxo10d4x2p5om10o10d5ox41" +
  "o14m9x3om8o2m2x10d2x4p23o3yo3m50omo3m2o2m5o2momo24x3o2p11o5m2p3o2m10x6o2x6o2x6o9x7ox7ox43ly4o9lo2y4x80l35o8mp2m2" +
  "x10d6x11172o12x23o4x49o8452x366o2x106o38x7l12x5l5xom10oy13ox5oxox2ox2ox108o17y16x363o2p16y64o2x54o7xy32x12o4y16m" +
  "10p6x16m35px14pyp3yxpy2p4x5ox135o2xfx3py6py4p10d2p3y2p26u3pypy26lpypy7p89o3x6o2x6o2x6o2x3o3x7yx7y10x3f2y2x12ox26" +
  "ox19ox2ox15o2x14o34x123o5x3p4x45n3x9y57n17y2n3yx13y3xy47x45ym130x29o3x49o15xm27n4x32o4n9x20on8on5x38o5m5x30oxp36" +
  "o4x8op5n42x40u40l78o2x10d6x36u4x36l4x40o8x52o11xp11ux15ux7ux2ux11lx15lx7lx2l67x311o9x22o10x8o24x6ox42ox9o69x6o2x" +
  "ox44ox2o3xo2x23oxp8n23o2y7n31o8x9n48x19ox2o5x5n22o6n3xp26o5xp64x56o4x2n2o16n2x46no3mx2m5x4m4ox3ox29o2x3m4xm9n7x9" +
  "p7x29o2np29o3n32x8oy28o2m4x5n7p9x54o3x7p22o2x8n19o5x8n18o7x4p12x7n80x73o55x51u13x51l7x6n36o4m8x10d294x31nx42ox2m" +
  "p2x2o78x29o10no8x22o11m4n5p22x18o4m4p38x21o7n20x23o9x3m53o15m7p4x20n10dm2o2mo9x4m45o11m2pf4pm10xf2x25o7x10d6x3m3" +
  "6o14mx10d4po2mo8x35om2po9x3m48o14m4o4p4mp2m10dopo3px20n11x18ox25o12m6pm65x7oxox4ox15ox10op6x47o12m5x10d6x4mx8o2x" +
  "2o2x22ox7ox2ox5ox2mo7m2x2m2x3m2xo6xm5x5o2m2x7m3x5m139x53o18m4o5p10d2pxpm3o30x48o20m2opo8x10d166x47o7m2x9m23p4o2m" +
  "34x48o17m3po11x10d6x13p19x43o13mop6x10d54x27o2x15m4x10d2n3py7o185x44o15mp100x32u32l10d9n12x8o2xo2x8ox2ox24o6mx2m" +
  "2x4momo2m3p9x10d70x8o2x39o7m2x7mopom27xo10m40o7mo4m8pm8xo11m46o16m3po5p13x73o263x9ox37o8mx8mo5p10x10d19n3x2p30o2" +
  "x22mx14m73x7ox2ox38o6m3xmx2mx7mom8x10d6x6ox2ox32o5mx2mx5mo7x10d310x19o4m2p183xo15x21n29y13xp922o102x111nx5p11x19" +
  "6o2636x97o2p13x1071ox9f4039x583o8633x569o7x31ox10d4x2p79ox10d6x30o2x5mp10x48o7m5p4y4opy10x10dx7nx21o5x19o688x32u" +
  "32l23n4p101x75o4xmo55m7x4m13o64x2opom11x2m14x6136o8x1238o42x9o8935x4ox7ox2ox291o45x3o17x4o8x396o2308x107o5x13o3x" +
  "9o7x10o2xy2mp4f4700x46m2x23m9x116y60x246y10x39y2x60y5m3y6m8f8m2y7m30y4m61y21x66y3my154x20n12x87y9x25n135x26u26l2" +
  "6u7lx18l26u26lux2u2xu2x2u2x4ux8u4lxlx7lx11l26u26l2ux4u2x8ux7ux26l2ux4ux5uxu3x7ux26l26u26l26u26l26u26l26u26l26u26" +
  "l26u28l2x25uy25ly6l25uy25ly6l25uy25ly6l25uy25ly6l25uy25ly6lul2x50d512y55m4y50m8ym14ym2y5p15x5mx15m1104x10lo20l22" +
  "5x7mx17m2x7mx2mx5m213x45o3x7m7o2x10d4xoy320x30om17x44o4m10d5xy1248x7ox4ox2ox15ox197o2x9n7m41x34u34l7mo4x10d4x2p7" +
  "85x59ny3ny4n76x45ny15n194x4ox27ox2oxo2xox10ox4oxoxo6xo4xoxoxox3ox2oxo2xoxoxoxoxox2oxo2x4ox7ox4ox4oxox10ox17o5x3o" +
  "x5ox17o52x2y270x44y4x100y12x15y2x15yx15yx37y10x13n161y56x29y13x44y4x9y7x2y14x6y154x984y5x16y3x13y3x116y12x89y7x1" +
  "2y4xy15x12y4x56y8x10y6x40y8x30y2x2y78x340y12x14y2x5y3x5y3x7y9x29y3x11y5x6y10x10y6x8y8x7y9x147yx55y37x10d1030x427" +
  "20o32x4153o7x222o2x5762o14x7473o3103x542o1506x4939o715958xf30x96f128x240m196112x";

export const LOWER =
  "1t,1,q,w 2u,1,n,w 2,1,7,w y,2,o,1 4,2,3,1 3,2,8,1 3,2,n,1 2,1,1,-3d 1,2,3,1 4,1,1,5u 1,2,2,1 2,1,1,5q 1,1,1,1 2," +
  "1,2,5p 1,1,1,1 3,1,1,27 1,1,1,5m 1,1,1,5n 1,1,1,1 2,1,1,5p 1,1,1,5r 2,1,1,5v 1,1,1,5t 1,1,1,1 4,1,1,5v 1,1,1,5x " +
  "2,1,1,5y 1,2,3,1 2,1,1,62 1,1,1,1 2,1,1,62 3,1,1,1 2,1,1,62 1,1,1,1 2,1,2,61 1,2,2,1 2,1,1,63 1,1,1,1 4,1,1,1 8," +
  "1,1,2 1,1,1,1 2,1,1,2 1,1,1,1 2,1,1,2 1,2,9,1 3,2,9,1 3,1,1,2 1,2,2,1 2,1,1,-2p 1,1,1,-1k 1,2,k,1 2,1,1,-3m 2,2," +
  "9,1 8,1,1,8bv 1,1,1,1 2,1,1,-4j 1,1,1,8bs 3,1,1,1 2,1,1,-5f 1,1,1,1x 1,1,1,1z 1,2,5,1 82,2,2,1 4,1,1,1 9,1,1,38 " +
  "7,1,1,12 2,1,3,11 2,1,1,1s 2,1,2,1r 2,1,h,w 2,1,9,w 10,1,1,8 9,2,c,1 6,1,1,-1o 3,1,1,1 2,1,1,-7 1,1,1,1 3,1,3,-3" +
  "m 1,1,g,28 1,1,w,w 1d,2,h,1 a,2,r,1 2,1,1,f 1,2,7,1 3,2,1c,1 3,1,12,1c 28a,1,12,5ls 2,1,1,5ls 6,1,1,5ls k3,1,28," +
  "tzk 1,1,6,8 1p7,1,17,-2bk 3,1,3,-2bk 8x,2,23,1 a,1,1,-5vj 2,2,1c,1 a,1,8,-8 9,1,6,-8 b,1,8,-8 9,1,8,-8 9,1,6,-8 " +
  "c,2,4,-8 9,1,8,-8 p,1,8,-8 9,1,8,-8 9,1,8,-8 9,1,2,-8 1,1,2,-22 1,1,1,-9 c,1,4,-2e 1,1,1,-9 c,1,2,-8 1,1,2,-2s d" +
  ",1,2,-8 1,1,2,-34 1,1,1,-7 c,1,2,-3k 1,1,2,-3i 1,1,1,-9 8a,1,1,-5st 4,1,1,-6gv 1,1,1,-6di 7,1,1,s 1a,1,g,g k,1,1" +
  ",1 mr,1,q,q 1f5,1,1c,1c 1d,1,1,1 2,1,1,-8af 1,1,1,-2xy 1,1,1,-89z 3,2,3,1 2,1,1,-8bg 1,1,1,-8al 1,1,1,-8bj 1,1,1" +
  ",-8bi 2,1,1,1 3,1,1,1 9,1,2,-8cf 1,2,1e,1 9,2,2,1 5,1,1,1 nym,2,n,1 k,2,e,1 3s,2,7,1 4,2,v,1 b,2,2,1 2,1,1,-r9g " +
  "1,2,5,1 5,1,1,1 2,1,1,-wmg 3,2,2,1 4,2,a,1 2,1,1,-wn8 1,1,1,-wnj 1,1,1,-wnf 1,1,1,-wn5 1,1,1,-wn8 2,1,1,-wlu 1,1" +
  ",1,-wmi 1,1,1,-wlx 1,1,1,ps 1,2,8,1 2,1,1,-1c 1,1,1,-wn7 1,1,1,-raw 1,2,2,1 7,1,1,1 6,2,2,1 t,1,1,1 h7w,1,q,w xy" +
  ",1,14,14 3t,1,10,14 4d,1,b,13 2,1,f,13 2,1,7,13 2,1,2,13 1d7,1,1f,1s 2cu,1,w,w gw1,1,w,w o81,1,y,y";
